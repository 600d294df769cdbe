"""Stored results in, one page out: HTML, Markdown, JSON and pictures. Nothing here measures anything."""

from pipeline.report.page import compare_report, write_report
from pipeline.report.screenful import digest

__all__ = ["compare_report", "digest", "write_report"]
