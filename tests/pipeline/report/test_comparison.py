"""The picture of a comparison: drawn for every verdict, with and without accuracies."""

from __future__ import annotations

from pathlib import Path

import pytest

import device_bench
from device_bench.records import AccuracyDifference, Comparison, ComparisonResult
from pipeline.report.comparison import accuracy_words, latency_words, plot_comparison


def accuracy(difference: float, p_value: float, verdict: str) -> AccuracyDifference:
    return AccuracyDifference.model_validate(
        {
            "difference": difference,
            "ci95": (difference - 0.02, difference + 0.02),
            "p_value": p_value,
            "n": 500,
            "discordant": (20, 5),
            "verdict": verdict,
            "baseline_top1": 0.9,
            "candidate_top1": 0.9 + difference,
            "split": "test",
        }
    )


def compared(ratio: float, verdict: str, found: AccuracyDifference | None) -> Comparison:
    missing = {} if found else {"accuracy": "no sidecar"}
    return Comparison.model_validate(
        {
            "baseline": "a",
            "candidate": "b",
            "ratio": ratio,
            "ci95": (ratio - 0.02, ratio + 0.02),
            "verdict": verdict,
            "noise_floor": 0.012,
            "accuracy": found,
            "missing": missing,
        }
    )


EACH = (
    compared(0.51, "faster", accuracy(-0.03, 0.0004, "lost")),
    compared(0.72, "faster", accuracy(0.012, 0.03, "gained")),
    compared(1.01, "inconclusive", accuracy(0.0, 1.0, "inconclusive")),
    compared(1.31, "slower", None),
)


@pytest.mark.parametrize("comparisons", [EACH, EACH[:1], EACH[3:]])
def test_a_png_is_written_whole(tmp_path: Path, comparisons: tuple[Comparison, ...]) -> None:
    (tmp_path / "model").write_bytes(bytes(1000))
    measured = device_bench.benchmark(tmp_path / "model", "fake://lab")
    result = ComparisonResult(comparisons=comparisons, measurements=(measured,))
    names = ["dense-fp32.tflite", "pruned-fp32.tflite", "a run's/export/$uniform$-fp32.tflite", "again.tflite", "old"]
    plot_comparison(result, names[: 1 + len(comparisons)], tmp_path / "out.png")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "out.png"}
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_verdicts_in_words() -> None:
    assert [latency_words(one) for one in EACH] == [
        "faster: 0.510 (0.490 to 0.530)",
        "faster: 0.720 (0.700 to 0.740)",
        "cannot be told: 1.010 (0.990 to 1.030)",
        "slower: 1.310 (1.290 to 1.330)",
    ]
    assert [accuracy_words(one.accuracy) for one in EACH if one.accuracy] == [
        "lost: \u22123.0 (p < 0.001)",
        "gained: 1.2 (p 0.03)",
        "cannot be told: 0.0 (p 1)",
    ]
