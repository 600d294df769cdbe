from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from device_bench.records import ComparisonResult
from pipeline.report.details import key_figures
from pipeline.report.results import ArtifactResult, Results, VariantResult, read_results
from pipeline.report.rows import Row, build_rows
from pipeline.report.table import is_modelled
from pipeline.report.verdict import build_verdict
from tests.pipeline.report.sample_run import SampleRun


@pytest.fixture(scope="module")
def results(run_dir: Path) -> Results:
    return read_results(run_dir)


@pytest.fixture(scope="module")
def rows(results: Results) -> tuple[Row, ...]:
    return build_rows(results)


def row(rows: tuple[Row, ...], variant: str, precision: str, format_: str = "tflite") -> Row:
    return next(
        row
        for row in rows
        if row.artifact
        and (row.variant.name, row.artifact.precision, row.artifact.format) == (variant, precision, format_)
    )


def edited(run: Path, name: str, change: Any) -> Results:
    """The run with one JSON file changed in place."""
    path = run / name
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    return read_results(run)


def test_headline_says_how_fast_how_accurate_and_how_sure(results: Results, rows: tuple[Row, ...]) -> None:
    verdict = build_verdict(results, rows)
    assert "4.53\u00d7 faster than dense (95% interval 4.40\u20134.67)" in verdict.headline
    assert "loses 0.5 points of top-1 (95% interval \u22120.8 to 1.8) on 397 test images" in verdict.headline
    assert verdict.met == "met"
    assert "passed every check (parity, delegation, measurement, latency and 1.0 points" in verdict.recommendation
    assert ": export/pruned-fp32.tflite, 0." in verdict.recommendation


def test_accuracy_is_compared_image_by_image_in_every_place(results: Results, rows: tuple[Row, ...]) -> None:
    assert build_verdict(results, rows).checks[-1].got.startswith("measured 0.5 (95% interval \u22120.8 to 1.8);")
    change = next(tile for tile in key_figures(results, rows) if tile.name == "Top-1 change, points")
    assert (change.figure, change.detail) == ("\u22120.5", "95% interval \u22121.8 to 0.8")


def test_an_interval_that_a_run_did_not_store_is_not_made_up(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).write()
    results = edited(run, "export/variants.json", lambda variants: [one.pop("top1_lost") for one in variants])
    rows = build_rows(results)
    verdict = build_verdict(results, rows)
    assert "It loses 0.5 points of top-1 (95% interval not stored) on 397 test images." in verdict.headline
    assert (verdict.checks[-1].got, verdict.checks[-1].met) == ("measured 0.5 (95% interval not stored)", "met")
    change = next(tile for tile in key_figures(results, rows) if tile.name == "Top-1 change, points")
    assert (change.figure, change.detail) == ("\u22120.5", "95% interval not stored")


def test_failed_and_rejected_artifacts_are_named_and_never_ranked(results: Results, rows: tuple[Row, ...]) -> None:
    failed, rejected = row(rows, "dense", "int8"), row(rows, "uniform", "fp16")
    assert (failed.status, rejected.status) == ("failed", "rejected")
    assert not failed.ranked and not rejected.ranked
    assert failed.speedup is None and rejected.speedup is None
    warnings = " ".join(build_verdict(results, rows).warnings)
    assert "dense tflite int8: failed parity: 2.1 points of accuracy lost" in warnings
    assert "uniform tflite fp16: measurement rejected: busy: other programs used 0.4 CPUs" in warnings


def test_what_is_only_known_less_exactly_is_ranked_and_marked(results: Results, rows: tuple[Row, ...]) -> None:
    unstable = row(rows, "pruned", "fp16")
    assert (unstable.status, unstable.ranked, unstable.problems) == ("passed", True, ())
    assert unstable.speedup is not None
    warnings = build_verdict(results, rows).warnings
    assert any("pruned tflite fp16: unstable: the median is known to 2.3%" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("partially delegated: 2 partitions, 1 of 9 operations outside", "partially delegated: 2 partitions"),
        ("not checked: XNNPACK's log is empty", "delegation not checked: XNNPACK's log is empty"),
    ],
)
def test_what_is_not_known_to_run_in_one_piece_is_never_ranked(tmp_path: Path, fault: str, said: str) -> None:
    run = SampleRun(tmp_path).write()
    results = edited(run, "export/artifacts.json", lambda artifacts: artifacts[8].update(missing={"delegation": fault}))
    rows = build_rows(results)
    changed = row(rows, "pruned", "fp32")
    assert (changed.status, changed.ranked, changed.speedup) == ("rejected", False, None)
    verdict = build_verdict(results, rows)
    assert sum(said in warning for warning in verdict.warnings) == 1
    assert "pruned-fp32" not in verdict.recommendation


def test_parity_that_was_not_checked_does_not_read_as_passed(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).write()
    unchecked = {"passed": None, "n": 0, "reason": "not checked: operation cumsum"}
    results = edited(run, "export/artifacts.json", lambda artifacts: artifacts[8]["parity"].update(unchecked))
    rows = build_rows(results)
    assert row(rows, "pruned", "fp32").status == "unchecked"
    verdict = build_verdict(results, rows)
    assert "pruned-fp32" not in verdict.recommendation
    assert any("parity not checked (not checked: operation cumsum)" in warning for warning in verdict.warnings)


def test_nothing_is_compared_with_a_dense_network_that_failed(rows: tuple[Row, ...]) -> None:
    other = row(rows, "pruned", "int8")
    assert other.ranked and other.speedup is None
    assert "failed parity" in other.speedup_missing


def test_only_interleaved_speed_ups_have_an_interval(rows: tuple[Row, ...]) -> None:
    interleaved, apart = row(rows, "pruned", "fp32").speedup, row(rows, "pruned", "fp16").speedup
    assert interleaved and interleaved.ci95 and apart and apart.ci95 is None
    assert interleaved.ci95[0] < interleaved.factor < interleaved.ci95[1]


def test_a_measurement_of_another_file_is_not_believed(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).write()
    results = edited(run, "export/artifacts.json", lambda artifacts: artifacts[8].update(sha256="f" * 64))
    changed = row(build_rows(results), "pruned", "fp32")
    assert changed.status == "rejected" and "hash differs" in changed.problems[0]
    assert "not known" in build_verdict(results, build_rows(results)).headline


@pytest.mark.parametrize(
    ("target", "met"),
    [
        ({"latency": 0.2}, "not met"),
        ({"latency_ms": 0.2}, "met"),
        ({"latency_ms": 0.1}, "not met"),
        ({"fps": 5000}, "met"),
    ],
)
def test_each_kind_of_target_is_held_against_what_was_measured(results: Results, target: dict, met: str) -> None:
    changed = with_target(results, target)
    check = build_verdict(changed, build_rows(changed)).checks[0]
    assert check.met == met


def with_target(results: Results, target: dict) -> Results:
    search = results.config.search.model_dump() | {"target": target}
    config = type(results.config).model_validate(results.config.model_dump() | {"search": search})
    return Results(**{**vars(results), "config": config})


@pytest.mark.parametrize(
    ("target", "said", "named"),
    [
        # int8 is the fastest file, but its share of dense is not known: dense int8 failed parity.
        ({"latency": 0.25}, "Fastest artifact on Intel", "pruned-fp32"),
        ({"latency_ms": 0.2}, "Fastest artifact on Intel", "pruned-int8"),
        ({"latency_ms": 0.01}, "Nearest: export/pruned-int8.tflite", "latency asked at most 0.01 ms, measured 0.0"),
        ({"latency_ms": 0.2, "accuracy_drop": 0.0}, "Nearest: export/pruned-fp32.tflite", "No artifact on Intel"),
        ({"latency_ms": 9.0, "accuracy_drop": 0.0}, "Nearest: export/pruned-fp32.tflite", "No artifact on Intel"),
    ],
)
def test_only_what_meets_every_target_is_recommended(results: Results, target: dict, said: str, named: str) -> None:
    changed = with_target(results, target)
    recommendation = build_verdict(changed, build_rows(changed)).recommendation
    assert said in recommendation and named in recommendation
    assert "dense-" not in recommendation
    assert ("Fastest" in recommendation) != ("No artifact" in recommendation)


def test_an_inconclusive_comparison_is_not_sold_as_faster(results: Results) -> None:
    unsure = tuple(
        one.model_copy(update={"ratio": 0.99, "ci95": (0.95, 1.03), "verdict": "inconclusive"})
        for one in results.comparisons[0].comparisons
    )
    changed = Results(**{**vars(results), "comparisons": (ComparisonResult(comparisons=unsure, measurements=()),)})
    verdict = build_verdict(changed, build_rows(changed))
    assert "not measurably faster than dense" in verdict.headline
    assert verdict.checks[0].met == "not met"


def test_strays_are_left_out_and_said(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).write()
    results = edited(run, "export/artifacts.json", lambda artifacts: artifacts.pop(2))
    assert results.strays == ("export/dense-int8.tflite",)
    assert "export/dense-int8.tflite" in " ".join(build_verdict(results, build_rows(results)).warnings)


def test_several_devices_are_held_to_the_target_each(results: Results) -> None:
    variants = tuple(
        VariantResult(variant.record, tuple(on_two_devices(result) for result in variant.artifacts))
        for variant in results.variants
    )
    on_host = results.variants[0].artifacts[0].measurements
    comparison = results.comparisons[0].model_copy(update={"measurements": on_host})
    changed = Results(**{**vars(results), "variants": variants, "comparisons": (comparison,)})
    rows = build_rows(changed)
    host, phone = (row.speedup for row in rows if row.label == "pruned tflite fp32")
    assert host and phone and host.ci95 and phone.ci95 is None and phone.factor > host.factor
    verdict = build_verdict(changed, rows)
    assert [check.name for check in verdict.checks] == [
        "Latency on Intel Xeon 2.80 GHz, 2 cores (host)",
        "Latency on Pixel (device)",
        "Accuracy",
    ]
    assert "on Intel Xeon 2.80 GHz, 2 cores (host), which gains least" in verdict.headline
    assert "Fastest artifact on Pixel (device) that passed every check" in verdict.recommendation


def on_two_devices(result: ArtifactResult) -> ArtifactResult:
    """The same measurement again as a phone's, where a pruned network gains more."""
    gain = 0.5 if result.artifact.variant == "pruned" else 1.0
    phones = tuple(
        measurement.model_copy(
            update={
                "device": measurement.device.model_copy(update={"id": "pixel", "kind": "device", "model": "Pixel"}),
                "latency_ms": measurement.latency_ms.model_copy(
                    update={"median": measurement.latency_ms.median * gain}
                ),
            }
        )
        for measurement in result.measurements
    )
    return ArtifactResult(result.artifact, (*result.measurements, *phones))


def test_a_missed_target_is_the_first_thing_said(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).write()
    results = edited(run, "search/summary.json", lambda summary: summary.update(target_met=False))
    headline = build_verdict(results, build_rows(results)).headline
    assert headline.startswith("The search found no plan that meets the latency target; this is the nearest one.")


@pytest.mark.parametrize(
    ("method", "modelled"),
    [
        ("batterystats", True),
        ("RAPL, CPU packages, idle before and after taken off", False),
        ("VmHWM after the timed loop; model_mb: less VmRSS before the model was loaded", False),
    ],
)
def test_only_a_model_is_called_one(method: str, modelled: bool) -> None:
    assert is_modelled(method) == modelled


@pytest.mark.parametrize(
    ("difference", "ci95", "ratio", "said"),
    [
        (
            0.021,
            [0.011, 0.031],
            1.01,
            "At the same measured latency (ratio 1.01) pruned is 2.1 points (95% interval 1.1 to 3.1) more accurate "
            "than uniform pruning.",
        ),
        (-0.021, [-0.031, -0.011], 1.0, "pruned is 2.1 points (95% interval 1.1 to 3.1) less accurate than uniform"),
        (0.002, [-0.01, 0.014], 0.8, "At 0.800 of the measured latency pruned is not measurably more or less accurate"),
        (0.0, [-0.01, 0.01], 1.0, "than uniform pruning: 0.0 points (95% interval \u22121.0 to 1.0)."),
    ],
)
def test_what_the_search_was_worth_is_said_in_one_sentence(
    tmp_path: Path, difference: float, ci95: list[float], ratio: float, said: str
) -> None:
    run = SampleRun(tmp_path).write()
    over = {"uniform": {"difference": difference, "ci95": ci95, "n": 397}}
    edited(run, "export/variants.json", lambda variants: variants[2].update(top1_over=over))

    def same(result: dict) -> None:
        by_name = {one["candidate"]: one for one in result["comparisons"]}
        uniform = by_name["export/uniform-fp32.tflite"]["ratio"]
        by_name["export/pruned-fp32.tflite"].update(ratio=uniform * ratio)

    results = edited(run, "bench/comparison.json", same)
    worth = build_verdict(results, build_rows(results)).search_worth
    assert said in worth and worth.count(".\n") == 0


def test_a_latency_that_was_not_measured_is_not_called_the_same(tmp_path: Path) -> None:
    results = read_results(SampleRun(tmp_path).write(until="export"))
    worth = build_verdict(results, build_rows(results)).search_worth
    assert worth.startswith("At a latency that is not known to be the same pruned is ")


def test_a_run_that_stored_no_such_comparison_says_nothing_of_it(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).write()
    results = edited(run, "export/variants.json", lambda variants: [one.pop("top1_over") for one in variants])
    assert build_verdict(results, build_rows(results)).search_worth == ""


def test_a_search_that_uniform_pruning_won_says_so(tmp_path: Path) -> None:
    run, reference = SampleRun(tmp_path).write(), 0
    results = edited(run, "search/summary.json", lambda summary: summary["finalists"][0].update(episode=reference))
    worth = build_verdict(results, build_rows(results)).search_worth
    assert worth.startswith("The search found nothing better than uniform pruning: pruned is that plan. At ")
