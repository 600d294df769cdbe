"""Stored results in, one page out: HTML, Markdown, JSON and pictures. Nothing here measures anything."""

from pipeline.report.page import compare_report, write_report

__all__ = ["compare_report", "write_report"]
