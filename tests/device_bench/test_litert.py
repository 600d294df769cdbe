import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.answer import SENTINEL
from device_bench.device import Job, JobModel, Missing
from device_bench.errors import RunnerError, UsageError
from device_bench.litert import RunnerOutput, job_result, job_text, read_output
from device_bench.records import BenchSpec
from device_bench.runners import litert_runner

JOB = Job.of(BenchSpec(timed_runs=2), (JobModel(path=Path("m.tflite")),))
MODEL = {
    "init_ms": 1.0,
    "first_ms": 2.0,
    "blocks": [[1.0, 1.5]],
    "wall_s": 0.0026,
    "golden_error": None,
    "delegate": {"name": "XNNPACK", "partitions": 1, "nodes_delegated": 5, "nodes_total": 5},
    "missing": {},
}
ANSWER = {
    "litert_version": "2.1.2",
    "status_before": "VmRSS:\t 2048 kB\n",
    "status_after": "VmHWM:\t 5120 kB\n",
    "cpus_before": {"stat": "cpu  100 0 0 500 0 0 0 0 0 0\n", "own_s": 1.0, "waited_s": 0.0},
    "cpus_after": {"stat": "cpu  220 0 0 580 0 0 0 0 0 0\n", "own_s": 2.0, "waited_s": 0.01},
    "loop_s": [1.0, 2.0],
    "models": [MODEL],
}


def printed(answer: object) -> str:
    return "INFO: something\n" + SENTINEL + json.dumps(answer) + "\n"


def test_both_ends_know_the_same_sentinel():
    assert SENTINEL == litert_runner.SENTINEL


def test_a_good_answer():
    output = read_output(printed(ANSWER), "", JOB)
    result = job_result(output, Missing(reason="no zones"))
    assert result.models[0].blocks == ((1.0, 1.5),)
    assert result.memory is not None and (result.memory.peak_rss_mb, result.memory.model_mb) == (5.0, 3.0)
    assert result.missing == {"thermal": "no zones"}
    assert result.runtime.version == "2.1.2"
    assert result.cpu_shares is not None
    assert result.cpu_shares.model_dump() == pytest.approx(
        {"wall_s": 1.0, "others_s": 0.2, "stolen_s": 0.0, "waited_s": 0.01}
    )


def test_where_the_load_of_others_is_not_seen_the_model_says_why():
    unseen = {"stat": None, "own_s": 1.0, "waited_s": None}
    output = RunnerOutput.model_validate({**ANSWER, "cpus_before": unseen, "cpus_after": unseen})
    result = job_result(output, Missing(reason="no zones"))
    assert result.cpu_shares is None and "/proc/stat" in result.models[0].missing["cpu_shares"]


def test_several_models_in_one_process_have_no_memory_of_their_own():
    output = RunnerOutput.model_validate({**ANSWER, "models": [MODEL, MODEL]})
    result = job_result(output, Missing(reason="no zones"))
    assert result.memory is None
    assert "shared one process" in result.missing["memory"]


def test_a_refused_file_is_the_users_error():
    text = printed({"refused": {"path": "m.tflite", "message": "LiteRT cannot load it: bad buffer"}})
    with pytest.raises(UsageError, match=r"m\.tflite: LiteRT cannot load it: bad buffer"):
        read_output(text, "", JOB)


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "Segmentation fault\n",
        SENTINEL,
        SENTINEL + "{",
        SENTINEL + "[1, 2]",
        printed({**ANSWER, "surprise": 1}),
        printed({**ANSWER, "models": []}),
        printed({**ANSWER, "models": [MODEL, MODEL]}),
        printed({**ANSWER, "models": [{**MODEL, "blocks": []}]}),
        printed({**ANSWER, "models": [{**MODEL, "blocks": [[1.0]]}]}),
        printed({**ANSWER, "models": [{**MODEL, "blocks": [[1.0, "fast"]]}]}),
        printed({**ANSWER, "models": [{**MODEL, "blocks": [[1.0, 1.0], []]}]}),
        printed({**ANSWER, "models": [{**MODEL, "blocks": [[1.0, 0.0]]}]}),
        printed({**ANSWER, "models": [{**MODEL, "blocks": [[1.0, float("nan")]]}]}),
        printed({key: value for key, value in ANSWER.items() if key != "loop_s"}),
        printed({**ANSWER, "loop_s": [2.0, 2.0]}),
        printed({**ANSWER, "loop_s": [1.0, float("nan")]}),
        printed({**ANSWER, "cpus_after": {"stat": None, "own_s": float("inf"), "waited_s": None}}),
    ],
)
def test_garbage_is_a_runner_error(stdout):
    with pytest.raises(RunnerError):
        read_output(stdout, "the last words", JOB)


@given(st.text())
def test_any_text_is_an_answer_or_a_runner_error(text):
    with pytest.raises(RunnerError):
        read_output(SENTINEL + text, "", JOB)


def test_the_job_says_everything_that_the_runner_reads():
    job = json.loads(job_text(JOB))
    source = Path(litert_runner.__file__).read_text()
    for key in ("models", "warmup_runs", "timed_runs", "min_seconds", "threads", "affinity", "block_s", "seed"):
        assert f'job["{key}"]' in source and key in job
