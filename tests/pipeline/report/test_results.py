from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DamagedFileError, StorageError
from pipeline.report.results import STAGES, read_results
from tests.pipeline.report.sample_run import SampleRun


def test_a_whole_run_reads_back(run_dir: Path) -> None:
    results = read_results(run_dir)
    assert [variant.name for variant in results.variants] == ["dense", "uniform", "pruned"]
    assert [len(variant.artifacts) for variant in results.variants] == [4, 4, 4]
    assert len(results.episodes) == 55 and results.search and len(results.search.finalists) == 5
    assert results.table_error and results.table_error.n == 10
    assert results.latency_tables and results.latency_tables.tables[0].estimator == "combined"
    assert [noise.floor for noise in results.device_noise] == [None]
    assert results.missing_stages == () and results.strays == ()


@pytest.mark.parametrize("until", STAGES)
def test_a_run_that_stopped_reads_as_far_as_it_got(until: str, tmp_path: Path) -> None:
    results = read_results(SampleRun(tmp_path).write(until))
    reached = STAGES.index(until)
    assert tuple(results.stage_seconds) == STAGES[: reached + 1]
    assert results.missing_stages == STAGES[reached + 1 :]
    dense = results.variant("dense")
    assert dense and dense.record.evaluation and dense.record.evaluation.top1 == 0.9874
    pruned = results.variant("pruned")
    assert (pruned is not None) == (reached >= STAGES.index("search"))
    if pruned:
        assert pruned.record.groups["features.0.0"].kept_count == 24
        assert (pruned.record.evaluation is not None) == (reached >= STAGES.index("finetune"))


def test_a_stage_without_its_done_file_has_not_run(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).write()
    (run / "bench" / "done.json").unlink()
    results = read_results(run)
    assert results.missing_stages == ("bench",)
    assert results.comparisons == () and not results.variants[0].artifacts[0].measurements


@pytest.mark.parametrize("name", ["config.yaml", "manifest.json"])
def test_a_folder_that_is_no_run_is_said_so(name: str, tmp_path: Path) -> None:
    run = SampleRun(tmp_path).write("baseline")
    (run / name).unlink()
    with pytest.raises(StorageError, match=f"not a run folder.*{name} is missing.*pocketprune run"):
        read_results(run)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("manifest.json", "{", "not a Manifest"),
        ("config.yaml", "name: demo\nspeed: 9\n", "unknown key"),
        ("baseline/done.json", "[]", "not a StageDone"),
        ("profile/latency_table.json", '{"error": {"median": "fast"}}', "error.median"),
        ("profile/noise.json", '[{"floor": 0.01}]', "not a list of DeviceNoise"),
        ("search/episodes.jsonl", '{"index": 0}\n', "episodes.jsonl, line 1: not a Episode"),
        ("search/summary.json", '{"agent": "dqn"}', "reward: Field required"),
        ("export/artifacts.json", '[{"variant": 3}]', "not a list of Artifact"),
        ("export/variants.json", "\udcff", "cannot be read"),
        ("bench/measurements.jsonl", "0 ms\n", "line 1: not a BenchLine"),
        ("bench/comparison.json", "null", "not a ComparisonResult"),
    ],
)
def test_a_damaged_file_is_named_with_the_remedy(name: str, content: str, message: str, tmp_path: Path) -> None:
    run = SampleRun(tmp_path).write()
    (run / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DamagedFileError) as caught:
        read_results(run)
    text = str(caught.value)
    assert name.split("/")[-1] in text and message in text and "run" in text
