"""Turns a torch network into the files that phones run, and checks that they still compute the same."""

from pipeline.export.quick import TfliteConverter

__all__ = ["TfliteConverter"]
