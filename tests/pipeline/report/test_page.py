from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_bench.records import Measurement
from pipeline.errors import StorageError
from pipeline.report import compare_report, write_report
from pipeline.report.charts import build_charts
from pipeline.report.frame import GRID, INK, PAPER, RULE
from pipeline.report.pictures import write_pictures
from pipeline.report.results import ArtifactResult, Results, VariantResult, read_results
from pipeline.report.rows import build_rows
from pipeline.report.series import COLOURS, log_ticks
from pipeline.report.summary import summary_md
from pipeline.report.table import table_cells
from pipeline.report.text import DASH
from pipeline.report.verdict import build_verdict
from tests.pipeline.report.sample_run import STAGES, SampleRun

CHARTS = {"accuracy_latency", "kept_channels", "latency", "learning_curve", "operations", "hybrid_error", "staircases"}
PICTURES = {f"{name}.png" for name in CHARTS}
HOSTILE = "<script>alert('phone')</script>$x_1$ & \"Co\""


def test_the_report_is_whole(report_dir: Path) -> None:
    assert {path.name for path in report_dir.iterdir()} == {"index.html", "summary.json", "summary.md"} | PICTURES
    for name in PICTURES:
        assert (report_dir / name).read_bytes().startswith(b"\x89PNG")


def test_the_page_loads_nothing_from_elsewhere(report_dir: Path) -> None:
    page = (report_dir / "index.html").read_text()
    assert "default-src 'none'" in page
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//""", own)
    assert "@import" not in own and "url(" not in own


@pytest.mark.parametrize("until", STAGES[:-1])
def test_a_run_that_stopped_says_what_is_missing(until: str, tmp_path: Path) -> None:
    page = write_report(SampleRun(tmp_path / "run").write(until), tmp_path / "report").read_text()
    missing = ", ".join(STAGES[STAGES.index(until) + 1 :])
    assert f"Not run: {missing}." in page
    assert "Incomplete" in page


def test_a_picture_of_an_earlier_report_does_not_stay(tmp_path: Path) -> None:
    run = SampleRun(tmp_path / "run").write("baseline")
    stale = tmp_path / "report" / "learning_curve.png"
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    write_report(run, stale.parent)
    assert not stale.exists()


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    run = SampleRun(tmp_path / "run", device_model=HOSTILE).write()
    report = write_report(run, tmp_path / "report")
    compared = compare_report([run, run], tmp_path / "compared")
    assert "<script>alert" not in report.read_text()
    assert "&lt;script&gt;alert" in report.read_text()
    assert "<script>alert" not in compared.read_text()
    assert "<script>" not in (report.parent / "summary.md").read_text()
    assert (
        json.loads((report.parent / "summary.json").read_text())["variants"][0]["artifacts"][0]["measurements"][0][
            "device"
        ]["model"]
        == HOSTILE
    )


def test_several_runs_share_a_page(run_dir: Path, tmp_path: Path) -> None:
    stopped = SampleRun(tmp_path / "stopped").write("search")
    page = compare_report([run_dir, stopped], tmp_path / "out").read_text()
    assert "2 runs side by side" in page
    assert page.count("<h2>demo</h2>") == 1 and page.count("<h2>stopped</h2>") == 1
    assert page.count('class="summary"') == 2


def test_a_folder_that_cannot_be_written_is_one_message(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="the report cannot be written"):
        write_report(run_dir, tmp_path / "file" / "report")
    with pytest.raises(StorageError, match="the report cannot be written"):
        compare_report([run_dir], tmp_path / "file" / "report")


finite = st.floats(min_value=1e-6, max_value=1e9)
maybe = st.none() | finite
any_float = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def measurements(draw: st.DrawFn, of: Measurement, value: st.SearchStrategy[float]) -> Measurement:
    """The measurement with any figures, and any parts missing."""
    names = ("median", "mean", "std", "min", "max", "p5", "p90", "p95", "p99")
    latency: dict[str, Any] = {
        name: draw(value if name in ("mean", "min", "max") else st.none() | value) for name in names
    }
    latency |= {
        "n": draw(st.integers(1, 9)),
        "ci95": draw(st.none() | st.tuples(value, value)),
        "samples": draw(st.none() | st.lists(value, max_size=6).map(tuple)),
        "processes": (1,),
    }
    optional = {name: draw(st.none() | value) for name in ("init_ms", "first_ms", "fps")}
    memory = draw(st.none() | st.just({"peak_rss_mb": draw(value), "model_mb": draw(value), "method": "VmHWM"}))
    thermal = {name: draw(st.none() | value) for name in ("start_c", "end_c", "freq_mhz_min", "freq_mhz_max")}
    power = draw(
        st.none()
        | st.fixed_dictionaries(
            {
                "mean_mw": value,
                "idle_mw": value,
                "energy_per_inference_mj": value,
                "ci95": st.tuples(value, value),
                "method": st.sampled_from(["rapl", "batterystats"]),
            }
        )
    )
    parts = {"memory": memory, "power": power, "delegate": None, "ops": None, **optional}
    return Measurement.model_validate(
        of.model_dump()
        | parts
        | {
            "latency_ms": latency,
            "thermal": draw(st.none() | st.just(thermal | {"throttled": None})),
            "missing": {
                name: f"no {name} here" for name in (*parts, "thermal", *(f"latency_ms.{key}" for key in latency))
            },
        }
    )


def with_measurement(results: Results, measurement: Measurement) -> Results:
    """The run with this one as the pruned fp32 file's measurement."""
    pruned = results.variants[-1]
    first = ArtifactResult(pruned.artifacts[0].artifact, (measurement,))
    changed = VariantResult(pruned.record, (first, *pruned.artifacts[1:]))
    return Results(**{**vars(results), "variants": (*results.variants[:-1], changed)})


def without_search(results: Results) -> Results:
    bare = tuple(
        VariantResult(variant.record.model_copy(update={"groups": {}}), variant.artifacts)
        for variant in results.variants
    )
    return Results(**{**vars(results), "variants": bare, "episodes": (), "search": None, "latency_tables": None})


@pytest.fixture(scope="module")
def results(run_dir: Path) -> Results:
    return read_results(run_dir)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_null_is_ever_shown_as_a_number(data: st.DataObject, results: Results) -> None:
    template = results.variants[-1].artifacts[0].measurements[0]
    measurement = data.draw(measurements(template, any_float))
    changed = with_measurement(results, measurement)
    rows = build_rows(changed)
    verdict = build_verdict(changed, rows)
    assert summary_md(changed, rows, verdict)
    cells, notes = table_cells(rows)
    line = next(cells[index] for index, row in enumerate(rows) if row.measurement is measurement)
    shown = {column.key: (cell, note) for column, cell, note in line}
    parts = {
        "latency_p95_ms": measurement.latency_ms.p95,
        "fps": measurement.fps,
        "peak_rss_mb": measurement.memory,
        "energy_mj": measurement.power,
    }
    for key, part in parts.items():
        cell, note = shown[key]
        if part is None:
            assert cell.text == DASH and cell.value is None
            assert note and "here" in notes[note - 1]
    shown_median, median = shown["latency_median_ms"][0].text, measurement.latency_ms.median
    assert (shown_median == "0") == (median == 0)
    assert (shown_median == DASH) == (median is None or not math.isfinite(median))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_pictures_and_charts_take_any_figures(
    data: st.DataObject, results: Results, tmp_path_factory: pytest.TempPathFactory
) -> None:
    template = results.variants[-1].artifacts[0].measurements[0]
    # Kept channels and the learning curve do not depend on a measurement, and cost time to draw.
    changed = with_measurement(without_search(results), data.draw(measurements(template, finite)))
    rows = build_rows(changed)
    json.dumps(build_charts(changed, rows), allow_nan=False)
    out = tmp_path_factory.mktemp("pictures")
    write_pictures(changed, rows, out)
    assert {path.name for path in out.iterdir()} == {"accuracy_latency.png", "latency.png"}


def test_every_tone_that_a_dark_screen_swallows_has_its_counterpart(report_dir: Path) -> None:
    page = (report_dir / "index.html").read_text()
    night = set(re.findall(r'"(#[0-9a-f]{6})": "#', page))
    assert {INK, GRID, RULE, PAPER, COLOURS["dense"], COLOURS["pruned"]} <= night


@given(st.lists(st.floats(min_value=1e-6, max_value=1e9), min_size=1))
def test_ticks_enclose_what_they_label(values: list[float]) -> None:
    ticks = log_ticks(values)
    assert ticks[0] <= min(values) and max(values) <= ticks[-1]
    assert ticks == sorted(set(ticks))
