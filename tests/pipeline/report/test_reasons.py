"""The page tells why each layer was left with what it has, from what the agent left; another agent leaves nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_bench.records import SparseUse
from pipeline.explanations import Explanation
from pipeline.report import write_report
from pipeline.report.conditions import measurements_grid
from pipeline.report.reason_charts import TOGETHER, WON, reason_chart
from pipeline.report.reasons import FEATURES, SHORT, TOLD, Reasons, reasons
from pipeline.report.results import Results, read_results
from pipeline.report.rows import build_rows
from tests.pipeline.report.sample_run import GROUPS, SampleRun, plan

SITES = tuple(GROUPS)
PLAN_SHARES = [len(group.kept) / group.channels for group in plan("pruned").groups.values()]


def explanation(site: str, kept: float, contributions: dict[str, float], unit: str = "worth") -> Explanation:
    return Explanation.model_validate(
        {
            "site": site,
            "asked": kept,
            "kept": kept,
            "usual": 0.5,
            "unit": unit,
            "contributions": contributions,
            "text": f"text of {site}",
        }
    )


def explained(results: Results, explanations: list[Explanation]) -> Results:
    return Results(**{**vars(results), "explanations": tuple(explanations)})


@pytest.fixture(scope="module")
def results(run_dir: Path) -> Results:
    return read_results(run_dir)


def found_in(results: Results, explanations: list[Explanation]) -> Reasons:
    found = reasons(explained(results, explanations))
    assert found is not None
    return found


def of_all(contributions: dict[str, float], shares: list[float] = PLAN_SHARES) -> list[Explanation]:
    return [explanation(site, share, contributions) for site, share in zip(SITES, shares, strict=True)]


def test_an_agent_that_explains_nothing_has_no_section(report_dir: Path) -> None:
    assert 'id="reasons"' not in (report_dir / "index.html").read_text()
    assert not (report_dir / "reasons.png").exists()
    assert "Why each" not in (report_dir / "summary.md").read_text()


def test_texts_and_picture_reach_page_png_and_summaries(tmp_path: Path) -> None:
    run = SampleRun(tmp_path / "run")
    run.write()
    lines = [one.model_dump() for one in of_all({"evenness": 0.3, "lost_alone": -0.2})]
    lines[3]["text"] = "<b>$x$</b> kept"
    run.json("search/explanations.json", lines)
    page = write_report(run.folder, tmp_path / "report")
    text, folder = page.read_text(), page.parent
    assert "Why each group was pruned as it was" in text
    assert "how evenly its channels matter" in text and "evenness" not in text.partition("<script>")[0]
    assert "&lt;b&gt;$x$&lt;/b&gt; kept" in text and "<b>$x$" not in text
    assert text.count("text of features.18.0") == 1 + ("features.18.0" in told_sites(run.folder))
    assert (folder / "reasons.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((folder / "summary.json").read_text())["search"]["explanations"]
    assert [one["site"] for one in told] == list(SITES) and set(told[0]) == {"site", "kept", "text"}
    markdown = (folder / "summary.md").read_text()
    assert f"The {TOLD} of {len(SITES)} groups" in " ".join(markdown.split())
    assert max(map(len, markdown.splitlines())) <= 110


def told_sites(folder: Path) -> set[str]:
    found = reasons(read_results(folder))
    return {name for name, _ in found.told} if found else set()


def test_few_groups_are_all_told_and_of_many_those_that_moved_most_in_the_networks_order(results: Results) -> None:
    few = found_in(results, of_all({"depth": 0.1})[:SHORT])
    assert len(few.told) == SHORT and few.rest == ()
    moved = {SITES[12]: -3.0, SITES[2]: 2.0, SITES[7]: 1.5, SITES[0]: -1.0, SITES[5]: 0.9}
    many = [explanation(site, 0.5, {"depth": moved.get(site, 0.1)}) for site in SITES]
    found = found_in(results, many)
    assert [name for name, _ in found.told] == [site for site in SITES if site in moved]
    assert [name for name, _ in found.rest] == list(SITES)


def test_the_plan_that_won_is_marked_where_it_is_another(results: Results) -> None:
    same = found_in(results, of_all({"depth": 0.1}))
    assert same.won is None and "won" not in same.lead
    other = found_in(results, of_all({"depth": 0.1}, [0.5, *PLAN_SHARES[1:]]))
    assert other.won == pytest.approx(tuple(PLAN_SHARES))
    assert "Another one won, of episode 48" in other.lead
    assert other.rest[0][1].endswith(". The plan that won keeps 75%.")
    assert "won" not in other.rest[1][1]  # which is the same there
    drawn = [{trace["name"] for trace in (reason_chart(one) or {})["data"]} for one in (same, other)]
    assert WON not in drawn[0] and WON in drawn[1]


def test_the_axis_says_what_the_pulls_are_in(results: Results) -> None:
    units = {}
    for unit in ("kept", "worth"):
        chart = reason_chart(found_in(results, [explanation("a", 0.5, {"depth": 0.1}, unit)]))
        assert chart is not None
        units[unit] = chart["layout"]["xaxis"]["title"]["text"]
    assert "share kept" in units["kept"] and "worth" in units["worth"]


@settings(deadline=None, max_examples=40)
@given(data=st.data(), features=st.integers(1, 30), sites=st.integers(1, 14))
def test_bars_add_up_to_all_that_was_asked_for(
    results: Results, data: st.DataObject, features: int, sites: int
) -> None:
    values = st.lists(st.floats(-5, 5), min_size=features, max_size=features)
    explanations = [
        explanation(site, 0.5, {f"feature_{number}": value for number, value in enumerate(data.draw(values))})
        for site in SITES[:sites]
    ]
    found = found_in(results, explanations)
    assert len(found.pulls) <= FEATURES
    total = [sum(one.contributions.values()) for one in explanations]
    assert found.together == pytest.approx(total, abs=1e-6)
    chart = reason_chart(found)
    assert chart is not None
    drawn = [sum(trace["x"][place] for trace in chart["data"] if trace["type"] == "bar") for place in range(sites)]
    assert drawn == pytest.approx(total, abs=1e-6)
    (together,) = (trace for trace in chart["data"] if trace["name"] == TOGETHER)
    assert together["x"] == pytest.approx(total, abs=1e-6)
    json.dumps(chart, allow_nan=False)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (SparseUse(stored=9000, kernels=34), "9,000 stored sparse; 1x1 convolutions on sparse kernels: 34"),
        (SparseUse(stored=9000, kernels=0), "9,000 stored sparse, computed dense on this device"),
        (SparseUse(stored=9000, kernels=None), "9,000 stored sparse; \u2014 how they ran"),
    ],
)
def test_a_sparse_file_says_whether_sparse_mode_engaged(results: Results, use: SparseUse, words: str) -> None:
    first, *others = build_rows(results)
    assert first.measurement
    plain = measurements_grid((first, *others))
    assert plain and "Weights without zeros" not in plain.heads
    missing = first.measurement.missing | {"sparse.kernels": "no profile of this device"}
    measured = first.measurement.model_copy(update={"sparse": use, "missing": missing})
    grid = measurements_grid((replace(first, measurement=measured), *others))
    assert grid and len(grid.align) == len(grid.heads) == len(grid.rows[0])
    assert (grid.heads[-1], grid.rows[0][-1], grid.rows[1][-1]) == ("Weights without zeros", words, "\u2014")
