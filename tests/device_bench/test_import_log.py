from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_bench.errors import UsageError
from device_bench.import_log import import_log
from device_bench.records import Measurement
from tests.device_bench.runners.test_benchmark_result import result

LOGS = Path(__file__).parent / "runners" / "logs"


def test_a_log_of_tflite():
    got = import_log(LOGS / "tflite.txt")
    assert got.latency_ms.mean == pytest.approx(56.2658)
    assert got.latency_ms.median is None
    assert got.missing["latency_ms.median"] == "this log's format prints no median"
    assert (got.latency_ms.n, got.latency_ms.processes, got.latency_ms.samples) == (1061, (1061,), None)
    assert (got.init_ms, got.first_ms) == (3.337, 81.913)
    assert got.fps == pytest.approx(1000 / 56.2658)
    assert got.memory is not None
    assert (got.memory.peak_rss_mb, got.memory.model_mb) == (13.1797, 8.67578)
    assert got.delegate is not None and got.delegate.nodes_delegated == 65
    assert (got.spec.warmup_runs, got.spec.timed_runs, got.spec.min_seconds, got.spec.threads) == (9, 50, 1.0, 2)
    assert got.artifact.path == "/data/local/tmp/my models/tiny.tflite"
    assert (got.artifact.sha256, got.artifact.size_bytes) == (None, None)
    assert "13.9782 MB" in got.missing["artifact.size_bytes"]
    assert (got.device.kind, got.device.model) == ("unknown", "unknown")
    assert {"device.kind", "device.model", "started_at", "power", "thermal", "ops"} <= set(got.missing)
    assert got.valid


def test_a_log_of_litert_2_has_a_median_and_a_partial_delegate():
    got = import_log(LOGS / "litert.txt")
    assert got.median_ms == 0.942
    assert (got.latency_ms.p5, got.latency_ms.p95, got.latency_ms.p99) == (0.915, 0.991, None)
    assert not got.valid
    assert got.rejections == ("partially delegated: XNNPACK took 63 of 65 operations in 1 partition(s)",)


def test_a_log_of_2018():
    got = import_log(LOGS / "old.txt", device="Pixel 2", kind="device")
    assert got.latency_ms.mean == 137.722
    assert got.init_ms == 26.82
    assert got.ops is not None and got.ops[0].type == "CONV_2D"
    assert (got.device.kind, got.device.model) == ("device", "Pixel 2")
    assert got.memory is None and got.missing["memory"] == "the log does not say what the tool took at its peak"
    assert got.spec.timed_runs == 200
    assert got.missing["spec.threads"] == "the log does not say; the value is a default"
    with pytest.raises(ValueError, match="prints no median"):
        _ = got.median_ms


def test_a_result_file(tmp_path):
    file = tmp_path / "result.pb"
    file.write_bytes(result())
    got = import_log(file)
    assert got.median_ms == pytest.approx(0.94)
    assert got.memory is not None and got.memory.peak_rss_mb == 427.5


@pytest.mark.parametrize("log", ["tflite.txt", "litert.txt", "old.txt", "profiled.txt"])
def test_a_measurement_of_a_log_is_one_like_any_other(log):
    got = import_log(LOGS / log)
    assert Measurement.model_validate_json(got.model_dump_json()) == got


def test_a_file_that_powershell_wrote(tmp_path):
    file = tmp_path / "log.txt"
    file.write_text((LOGS / "tflite.txt").read_text(), encoding="utf-16")
    assert import_log(file) == import_log(LOGS / "tflite.txt")


def test_a_log_of_the_system_log(tmp_path):
    file = tmp_path / "logcat.txt"
    lines = (LOGS / "tflite.txt").read_text().splitlines()
    file.write_text("\n".join(f"09-28 22:30:00.100  4100  4100 I tflite  : {line[6:]}" for line in lines))
    assert import_log(file).latency_ms == import_log(LOGS / "tflite.txt").latency_ms


def test_the_model_file_tells_what_the_log_does_not(tmp_path, tiny_tflite):
    size_mb = tiny_tflite.stat().st_size / 1e6
    file = tmp_path / "log.txt"
    text = (LOGS / "tflite.txt").read_text()
    file.write_text(text.replace("13.9782", f"{size_mb:.6g}"))
    got = import_log(file, model=tiny_tflite)
    assert got.artifact.size_bytes == tiny_tflite.stat().st_size
    assert not any(name.startswith("artifact.") for name in got.missing)
    with pytest.raises(UsageError, match=r"the log is of a file of 13\.9782 MB"):
        import_log(LOGS / "tflite.txt", model=tiny_tflite)


def test_of_several_runs_one_must_be_named(tmp_path):
    file = tmp_path / "log.txt"
    unfinished = "STARTING!\nInitialized session in 1ms.\ncount=1 curr=900\n"
    file.write_text((LOGS / "tflite.txt").read_text() + unfinished + (LOGS / "litert.txt").read_text())
    with pytest.raises(UsageError, match=r"holds 2 measurements \(1: .*, 56\.27 ms; 2: .*0\.9471 ms\); say which"):
        import_log(file)
    assert import_log(file, run=2).latency_ms.n == 1054
    for wrong in (0, 3, -1):
        with pytest.raises(UsageError, match=f"run {wrong}: .* holds 2"):
            import_log(file, run=wrong)


SAID = {
    "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.": (
        "not delegated: GPU"
    ),
    "Explicitly applied NNAPI delegate, and the model graph will be partially executed by the delegate w/ 3 delegate "
    "kernels.": "partially delegated: NNAPI",
}


@pytest.mark.parametrize("line", SAID)
def test_a_delegate_that_was_not_used_speaks_against_the_log(tmp_path, line):
    file = tmp_path / "log.txt"
    kept = [x for x in (LOGS / "tflite.txt").read_text().splitlines() if "elegate" not in x and "xnnpack" not in x]
    file.write_text("\n".join([kept[0], line, *kept[1:]]))
    got = import_log(file)
    assert not got.valid
    assert got.rejections[0].startswith(SAID[line])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\n",
        b"Average inference timings in us: Warmup: 83235, Init: 38467, Inference: 79760.9\n",
        b"count=9 first=81913 curr=55502 min=55502 max=81913 avg=58984.7 std=8115\n",
        b"\xff\xfe\x00",
        bytes(range(256)),
    ],
)
def test_a_file_without_a_measurement_is_refused_with_what_was_looked_for(tmp_path, content):
    file = tmp_path / "log.txt"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="looked for the two `count="):
        import_log(file)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(UsageError, match="cannot be read"):
            import_log(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.data())
def test_a_log_with_lines_lost_or_doubled_is_a_measurement_or_refused(tmp_path, data):
    lines = (LOGS / data.draw(st.sampled_from(["tflite.txt", "litert.txt", "profiled.txt"]))).read_text().splitlines()
    kept = data.draw(st.lists(st.sampled_from(lines), max_size=len(lines)))
    file = tmp_path / "log.txt"
    file.write_text("\n".join(kept))
    try:
        got = import_log(file)
    except UsageError:
        return
    assert got.latency_ms.min <= got.latency_ms.max
