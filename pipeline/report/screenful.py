"""The report in a screenful: what a terminal of 80 columns shows beside the page's path."""

from __future__ import annotations

import textwrap
from pathlib import Path

from pipeline.report.results import read_results
from pipeline.report.rows import build_rows
from pipeline.report.trust import build_trust
from pipeline.report.verdict import build_verdict

WIDTH = 80


def digest(run_dir: Path) -> str:
    """The verdict, what may be recommended, and how far it can be trusted.

    Raises:
        StorageError: the run cannot be read (DamagedFileError).
    """
    results = read_results(run_dir)
    rows = build_rows(results)
    verdict, trust = build_verdict(results, rows), build_trust(results, rows)
    said = [
        verdict.headline,
        *(f"{check.name} target {check.met}: asked {check.asked}; {check.got}." for check in verdict.checks),
        verdict.recommendation,
        trust.lead,
        trust.processes.note if trust.processes else "",
        *(f"{name}: {value}" for name, value in trust.search),
        f"The latency table while searching: {trust.hybrid_words}" if trust.hybrid_words else "",
    ]
    return "\n".join(textwrap.fill(text, WIDTH, subsequent_indent="  ") for text in said if text)
