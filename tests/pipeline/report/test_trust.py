from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.records import kind_of
from pipeline.report.results import Results, read_results
from pipeline.report.rows import build_rows
from pipeline.report.series import hybrid_errors, staircases
from pipeline.report.trust import Trust, build_trust, counted_reasons
from tests.pipeline.report.sample_run import STAGES, SampleRun


@pytest.fixture(scope="module")
def results(run_dir: Path) -> Results:
    return read_results(run_dir)


@pytest.fixture(scope="module")
def trust(results: Results) -> Trust:
    return build_trust(results, build_rows(results))


def test_the_noise_floor_leads_and_an_unknown_one_has_its_reason(trust: Trust) -> None:
    assert "Differences below 1.2% cannot be told on Intel Xeon 2.80 GHz, 2 cores (host) with 3 processes" in trust.lead
    assert trust.noise is not None
    final, search = trust.noise.rows
    assert final[2:] == (
        "3",
        "1.2",
        "0.90\u20131.9",
        "2.1",
        "36 processes in 9 sittings, 2026-11-20 to 2026-11-21, models of 0.140 to 0.660 ms",
    )
    assert search[0] == "search" and "not known: 4 processes timed such a file" in search[-1]


def test_every_measurement_says_what_was_repeated_and_why(trust: Trust) -> None:
    assert trust.processes is not None
    lines = {line[0]: line[2:] for line in trust.processes.rows}
    assert lines["pruned tflite fp32"] == ("5", "3", "busy 2, stolen 1", "1.2", "")
    assert lines["pruned tflite fp16"][-1].startswith("unstable: the median is known to 2.3%")
    assert lines["uniform tflite fp16"][-1].startswith("rejected: busy: other programs")
    assert "45 processes counted; 3 were put aside and repeated (busy 2, stolen 1)" in trust.processes.note


def test_the_search_counts_what_it_could_not_believe(trust: Trust) -> None:
    facts = dict(trust.search)
    assert facts["Rejected, and never rewarded"] == "2 (busy 2, drifting 1)"
    assert facts["Processes put aside and repeated"] == "7"
    assert facts["Episodes that the latency table paid, their measurement being rejected"] == "8"


def test_the_table_shows_the_errors_of_all_estimators_and_which_was_kept(trust: Trust) -> None:
    ((device, facts),) = trust.tables
    assert device == "Intel Xeon 2.80 GHz, 2 cores (host)"
    assert dict(facts)["Fitted on"] == "40 variants, no single layers (these are made up)"
    assert trust.table_errors is not None
    assert [line[0] for line in trust.table_errors.rows] == [
        "tiles",
        "combined, kept",
        "kept, corrected by the search",
    ]
    assert trust.table_errors.rows[1][1:] == ("3.1", "8.4", "9.3", "10")
    assert trust.hybrid_words == "15 of 45 within \u00b12%"


def test_energy_is_shown_where_it_was_part_of_the_reward(trust: Trust, tmp_path: Path) -> None:
    assert trust.energy is not None
    dense, pruned = trust.energy.rows
    assert dense[:3] == ("dense", "9.10", "8.80\u20139.50") and pruned[1:4] == (
        "2.30",
        "2.10\u20132.50",
        "0.253 (at most 0.300 asked)",
    )
    changed = changed_summary(tmp_path, energy={"method": "batterystats"})
    assert changed.energy is not None and changed.energy.rows[0][-1] == "batterystats (a model)"
    assert changed_summary(tmp_path / "none", energy=None).energy is None


def test_staircases_are_drawn_of_the_groups_that_cost_most(results: Results) -> None:
    found = staircases(results)
    assert len(found) == 6 and found[-1].group == "features.18.0"
    one = next(stairs for stairs in found if stairs.group == "features.8.conv.0.0")
    assert one.edges == tuple(range(8, 385, 8)) and max(one.latency_ms) == pytest.approx(0.4 * 0.641 * 384 / 1280)
    assert len(hybrid_errors(results)) == 45


def test_a_run_of_an_older_version_has_gaps_and_no_zeros(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).write()
    (run / "profile" / "noise.json").unlink()
    (run / "profile" / "latency_table.json").write_text(json.dumps({"tables": [], "error": None}))
    summary = json.loads((run / "search" / "summary.json").read_text())
    new = ("hybrid_errors", "hybrid_error", "unstable_measurements", "repeated_processes", "rejected_measurements")
    (run / "search" / "summary.json").write_text(json.dumps({k: v for k, v in summary.items() if k not in new}))
    results = read_results(run)
    trust = build_trust(results, build_rows(results))
    assert dict(trust.search)["Rejected, and never rewarded"] == "\u2014"
    assert dict(trust.search)["Processes put aside and repeated"] == "\u2014"
    assert not trust.tables and trust.table_errors is None and trust.hybrid_words == ""


@pytest.mark.parametrize("until", STAGES)
def test_a_run_that_stopped_has_what_it_reached(until: str, tmp_path: Path) -> None:
    results = read_results(SampleRun(tmp_path).write(until))
    trust = build_trust(results, build_rows(results))
    reached = STAGES.index(until)
    assert bool(trust.tables) == (reached >= STAGES.index("profile"))
    assert bool(trust.search) == (reached >= STAGES.index("search"))
    assert (trust.processes is not None) == (until == "bench")
    assert ("not known" in trust.lead or "No noise floor" in trust.lead) == (until != "bench")


@given(st.lists(st.lists(st.sampled_from(["busy: by 0.3", "busy: by 0.4", "stolen: 3%", "throttled"])).map(tuple)))
def test_every_reason_is_counted_once(rejected: list[tuple[str, ...]]) -> None:
    parts = [part.split(" ") for part in counted_reasons(rejected).split(", ") if part]
    kinds = [kind_of(reason) for reasons in rejected for reason in reasons]
    assert {kind: int(count) for kind, count in parts} == {kind: kinds.count(kind) for kind in kinds}
    assert [int(count) for _, count in parts] == sorted((int(count) for _, count in parts), reverse=True)


def changed_summary(folder: Path, energy: dict[str, Any] | None) -> Trust:
    run = SampleRun(folder).write()
    path = run / "search" / "summary.json"
    summary = json.loads(path.read_text())
    summary["energy"] = energy and summary["energy"] | energy
    path.write_text(json.dumps(summary))
    results = read_results(run)
    return build_trust(results, build_rows(results))
