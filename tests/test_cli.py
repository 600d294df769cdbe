"""The command line as its users meet it: results, exit codes, and one clear message for each mistake."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml

from device_bench import records
from device_bench.modelfile import fingerprint
from device_bench.sidecar import Answers, Sidecar, SidecarAccuracy, sidecar_path
from pipeline import cli, options
from tests.pipeline.tiny_run import tiny_config

ROOT = Path(__file__).parents[1]


class Outcome:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def pocketprune(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Outcome:
        code = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


def config_file(folder: Path, **changes: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tiny_config(**changes)))
    return path


@pytest.mark.parametrize(
    ("registry", "some"),
    [
        ("models", "mobilenet_v2"),
        ("data", "glyphs"),
        ("agents", "dqn"),
        ("exporters", "tflite: fp32, fp16, int8, dynamic, fp32-sparse"),
        ("devices", "host"),
    ],
)
def test_list_names_what_is_known(pocketprune: Any, registry: str, some: str) -> None:
    outcome = pocketprune("list", registry)
    assert outcome.code == 0 and some in outcome.out.splitlines()


TEXT_MISTAKES = {
    "not YAML": ("name: [1", "config.yaml: not YAML"),
    "no mapping": ("- 1", "holds list, not a mapping"),
    "no name": ("seed: 1", "name: Field required"),
    "unknown key": ("name: x\nserch: {}", "serch: unknown key; known here: baseline, bench"),
    "wrong type": ("name: x\nseed: many", "seed: Input should be a valid integer"),
    "two targets": (
        "name: x\nsearch: {target: {fps: 30, latency: 0.5}}",
        "keep one of latency, latency_ms, fps, macs, sparsity",
    ),
    "a folder as name": ("name: a/b", "must be a plain folder name"),
}


@pytest.mark.parametrize("mistake", TEXT_MISTAKES)
def test_a_broken_file_is_one_message(pocketprune: Any, tmp_path: Path, mistake: str) -> None:
    text, message = TEXT_MISTAKES[mistake]
    (tmp_path / "config.yaml").write_text(text)
    outcome = pocketprune("run", "config.yaml")
    assert outcome.code == 2 and message in outcome.err and "Traceback" not in outcome.err
    assert not (tmp_path / "runs").exists() and outcome.out == ""


VALUE_MISTAKES: dict[str, tuple[dict[str, Any], int, str]] = {
    "image too small": ({"model": {"name": "mobilenet_v2"}}, 2, "at least 32"),
    "unknown model": ({"model": {"name": "mobilnet_v2"}}, 2, "mobilenet_v2"),
    "unknown data": ({"data__name": "digit"}, 2, "digits"),
    "unknown agent": ({"search__agent": "ppo"}, 2, "search.agent: unknown name 'ppo'; known: amc, dqn,"),
    "unknown option": ({"search__options": {"gama": 1}}, 2, "search.options of tradeoff: gama: unknown key; known"),
    "no layers": ({"search__agent": "dqn", "search__options": {"net_arch": 5}}, 2, "search.options of dqn: net_arch: "),
    "no rate": (
        {"search__agent": "dqn", "search__options": {"learning_rate": "fast"}},
        2,
        "search.options of dqn: learning_rate: ",
    ),
    "option of random": ({"search__agent": "random", "search__options": {"a": 1}}, 2, "known here: none"),
    "option of uniform": ({"search__agent": "uniform", "search__options": {"a": 1}}, 2, "known here: none"),
    "no such accelerator": (
        {"bench__accelerator": "npu"},
        2,
        "bench.accelerator 'npu': fake device lab (fake) is measured on cpu only",
    ),
    "unknown device": ({"device": "phone://x"}, 2, "known: adb, fake, host"),
    "device is gone": ({"device": "fake://gone"}, 3, "not there"),
    "impossible target": ({"search__target": {"latency": 0.02}}, 2, "2.0% of the dense latency cannot be reached"),
    "target met already": ({"search__target": {"latency_ms": 1000.0}}, 2, "no more than the target allows"),
    "training diverges": ({"baseline__learning_rate": 1e9}, 1, "learning rate"),
    "fake reward": ({"search__reward_from": ["host"]}, 4, "of kind 'fake'"),
    "rejected for ever": ({"device": "fake://lab?reject=hot"}, 4, "a measurement was rejected (hot)"),
}


@pytest.mark.parametrize("mistake", VALUE_MISTAKES)
def test_a_value_that_cannot_work_is_one_message_and_its_exit_code(
    pocketprune: Any, tmp_path: Path, mistake: str
) -> None:
    changes, code, message = VALUE_MISTAKES[mistake]
    changes = {"baseline__epochs": 1, "search__profile": {"fit_variants": 2, "check_variants": 1}} | changes
    outcome = pocketprune("run", config_file(tmp_path, **changes), "--run-dir", "run")
    assert (outcome.code, "Traceback" in outcome.err) == (code, False), outcome.err
    errors = [line for line in outcome.err.splitlines() if line.startswith(("error:", "internal error:"))]
    assert len(errors) == 1 and message in outcome.err


@pytest.mark.parametrize(
    "changes",
    [
        {"search__reward_from": ["host"]},
        {"search__bench": {"accelerator": "gpu"}},
        {"search__options": {"gama": 1}},
    ],
)
def test_what_cannot_work_is_refused_before_training(pocketprune: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    assert pocketprune("run", config_file(tmp_path, **changes), "--run-dir", "run").code in (2, 4)
    assert not list(tmp_path.glob("run/baseline*"))


def mounted(folder: Path, *options: str) -> bool:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "size=40k"), "No space left"),
        (("-o", "size=8k"), "the disk is full"),
        (("-o", "ro,size=1m"), "read-only"),
    ],
)
def test_a_disk_that_takes_nothing(pocketprune: Any, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    """A real file system that is full, and a real one that is read-only."""
    disk = tmp_path / "disk"
    if not mounted(disk, *options):
        pytest.skip("needs root, to mount a small file system")
    try:
        outcome = pocketprune("run", config_file(tmp_path, baseline__epochs=1), "--run-dir", disk / "run")
        assert outcome.code == 2 and message in outcome.err and "Traceback" not in outcome.err, outcome.err
        assert not (disk / "run" / "baseline").exists()
    finally:
        subprocess.run(["umount", str(disk)], timeout=30, check=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files that the fake device takes for TFLite models, the second half as large."""
    folder = tmp_path_factory.mktemp("models with spaces; and $(more)")
    paths = [folder / "dense.tflite", folder / "slim.tflite"]
    for path, size in zip(paths, (200_000, 100_000), strict=True):
        path.write_bytes(b"\x00\x00\x00\x00TFL3" + bytes(size))
    return paths


def test_bench_prints_a_table_and_writes_the_schema(pocketprune: Any, models: list[Path], tmp_path: Path) -> None:
    outcome = pocketprune("bench", *models, "--device", "fake://lab", "--json", tmp_path / "out.json")
    assert outcome.code == 0
    assert "dense.tflite" in outcome.out and "(fake)" in outcome.out
    measurements = json.loads((tmp_path / "out.json").read_text())["measurements"]
    assert [m["device"]["kind"] for m in measurements] == ["fake", "fake"]
    assert measurements[0]["latency_ms"]["median"] > measurements[1]["latency_ms"]["median"]


def test_compare_says_which_is_faster(pocketprune: Any, models: list[Path], tmp_path: Path) -> None:
    options = ("--device", "fake://lab", "--json", tmp_path / "out.json", "--plot", tmp_path / "out.png")
    outcome = pocketprune("compare", *models, *options)
    assert outcome.code == 0 and "faster" in outcome.out
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["comparisons"][0]["verdict"] == "faster"
    assert written["comparisons"][0]["ratio"] == pytest.approx(0.5, rel=0.01)
    assert written["comparisons"][0]["accuracy"] is None
    assert "no sidecar" in written["comparisons"][0]["missing"]["accuracy"]
    assert "accuracy of slim.tflite: not compared" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_compare_takes_another_baseline(pocketprune: Any, models: list[Path]) -> None:
    outcome = pocketprune("compare", *models, "--device", "fake://lab", "--baseline", "slim")
    assert outcome.code == 0 and "slower" in outcome.out and "baseline: slim.tflite" in outcome.out
    assert pocketprune("compare", *models, "--device", "fake://lab", "--baseline", "3").code == 2


def test_compare_pairs_accuracies_by_the_sidecars_and_fits_80_columns(pocketprune: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "export").mkdir(parents=True)
    artifacts = []
    for name, size, right in (("dense", 9000, 90), ("pruned", 5000, 70)):
        path = run / "export" / f"{name}-fp32.tflite"
        path.write_bytes(b"\x00\x00\x00\x00TFL3" + bytes(size))
        sha256, size_bytes = fingerprint(path)
        answers = Answers.from_array("a" * 64, np.arange(100) < right)
        accuracy = SidecarAccuracy(top1=right / 100, top5=None, n=100, split="test", answers=answers)
        common: dict[str, Any] = {"sha256": sha256, "format": "tflite", "precision": "fp32"}
        sidecar = Sidecar(**common, accuracy=accuracy, preprocessing={}, parity={}, golden=None)
        sidecar_path(path).write_text(sidecar.model_dump_json())
        evaluation = {"split": "test", "top1": right / 100, "top5": None, "loss": 1, "n_images": 100, "ci95": (0, 1)}
        parity = {"method": "litert", "max_rel_error": 0, "top1_agreement": 1, "n": 100, "passed": True}
        place = {"variant": name, "path": f"export/{path.name}", "size_bytes": size_bytes}
        artifacts.append(common | place | {"evaluation": evaluation, "parity": parity})
    (run / "export" / "artifacts.json").write_text(json.dumps(artifacts))
    outcome = pocketprune("compare", run, "--device", "fake://lab", "--json", tmp_path / "out.json")
    assert outcome.code == 0, outcome.err
    (one,) = json.loads((tmp_path / "out.json").read_text())["comparisons"]
    assert one["accuracy"]["difference"] == pytest.approx(-0.2) and one["accuracy"]["verdict"] == "lost"
    assert one["accuracy"]["discordant"] == [20, 0] and one["missing"] == {}
    assert "-20.0, lost" in outcome.out and "70.0%, baseline 90.0%, of 100 test images" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_compare_says_why_it_has_no_times_of_operations(pocketprune: Any, models: list[Path]) -> None:
    outcome = pocketprune("compare", *models, "--device", "fake://lab", "--ops")
    assert outcome.code == 0
    assert "no times of operations: slim.tflite: the runner gives no times of single operations" in outcome.out


def test_a_rejected_measurement_is_exit_code_4(pocketprune: Any, models: list[Path]) -> None:
    outcome = pocketprune("bench", models[0], "--device", "fake://lab?reject=too%20hot")
    assert outcome.code == 4 and "too hot" in outcome.out


@pytest.mark.parametrize("command", ["bench", "compare"])
def test_repeated_processes_are_counted_and_stored(
    pocketprune: Any, models: list[Path], tmp_path: Path, command: str
) -> None:
    device = "fake://lab?reject=busy:%20others&reject_first=2"
    outcome = pocketprune(command, *models, "--device", device, "--json", tmp_path / "out.json")
    assert outcome.code == 0 and "3 processes, 2 repeated: busy" in outcome.out
    measurement = json.loads((tmp_path / "out.json").read_text())["measurements"][0]
    assert measurement["valid"] and [one["reasons"] for one in measurement["rejected"]] == [["busy: others"]] * 2


def test_compare_marks_what_is_unstable_and_bench_rejects_it(pocketprune: Any, models: list[Path]) -> None:
    device = ("--device", "fake://lab?noise=0.05", "--max-processes", "6")
    outcome = pocketprune("compare", *models, *device)
    assert outcome.code == 0 and "faster" in outcome.out
    said = " ".join(outcome.out.split())
    assert "slim.tflite: unstable: the ratio is known to" in said and "(1% was asked for)" in said
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert pocketprune("compare", *models, *device, "--precision", "0").out.count("unstable") == 0
    assert pocketprune("bench", *models, *device).code == 0
    outcome = pocketprune("bench", *models, *device, "--precision", "2.5")
    assert outcome.code == 4 and "(2.5% was asked for)" in " ".join(outcome.out.split())
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize("command", ["bench", "compare"])
@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--precision", "nan"), "Invalid value for '--precision'"),
        (("--precision", "1", "--max-processes", "1", "--processes", "1"), "one process has no interval"),
        (("--json", "nowhere/x.json"), "nowhere/x.json: its folder does not exist"),
        (("--min-seconds", "nan"), "Invalid value for '--min-seconds'"),
        (("--min-seconds", "inf"), "inf is not a number of seconds"),
        (("--accelerator", "gpu", "--delegate", "xnnpack"), "does not run on accelerator 'gpu'"),
        (("--affinity", "4-x"), "names no CPUs"),
        (("--affinity", "3-1"), "names no CPUs"),
    ],
)
def test_a_measurement_is_not_begun_in_vain(
    pocketprune: Any, models: list[Path], command: str, option: tuple[str, ...], message: str
) -> None:
    outcome = pocketprune(command, *models, "--device", "fake://lab", *option)
    assert outcome.code == 2 and outcome.out == "" and message in " ".join(outcome.err.replace("│", "").split())


def test_devices(pocketprune: Any) -> None:
    assert "host" in pocketprune("devices").out
    listed = json.loads(pocketprune("devices", "--json").out)
    assert {"spec", "info", "battery_percent", "temperature_c", "runner", "reason"} == set(listed[0])


def test_set_changes_a_key_and_until_stops(pocketprune: Any, tmp_path: Path) -> None:
    outcome = pocketprune("run", config_file(tmp_path), "--until", "baseline", "--set", "baseline.epochs=1")
    assert outcome.code == 0 and "run folder: runs/tiny" in outcome.out
    resolved = yaml.safe_load((tmp_path / "runs" / "tiny" / "config.yaml").read_text())
    assert resolved["baseline"]["epochs"] == 1
    history = json.loads((tmp_path / "runs" / "tiny" / "baseline" / "history.json").read_text())
    assert len(history) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "run the same command to go on"),
        (("--fresh",), "run the same command without --fresh to go on"),
    ],
)
def test_an_interrupt_is_exit_code_130(
    pocketprune: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    options: tuple[str, ...],
    message: str,
) -> None:
    tidied = []

    def interrupted(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(number)
        finally:
            tidied.append(number)

    monkeypatch.setattr("pipeline.flow.run", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    outcome = pocketprune("run", config_file(tmp_path), *options)
    assert outcome.code == 130 and message in outcome.err and tidied == [number]
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_internal_error_shows_its_traceback_only_when_asked(
    pocketprune: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("pipeline.flow.run", fail)
    outcome = pocketprune("run", config_file(tmp_path))
    assert outcome.code == 1 and "internal error: ZeroDivisionError" in outcome.err
    assert "Traceback" not in outcome.err
    for arguments in (["--debug", "run", "c.yaml"], ["run", "--debug", "c.yaml"], ["run", "c.yaml", "--debug"]):
        config_file(tmp_path).rename(tmp_path / "c.yaml")
        with pytest.raises(ZeroDivisionError):
            pocketprune(*arguments)


def test_help_names_debug(pocketprune: Any) -> None:
    assert "--debug" in pocketprune("--help").out


def test_usage_errors_are_exit_code_2(pocketprune: Any) -> None:
    assert pocketprune("run").code == 2
    assert pocketprune("bench", "no-such.tflite").code == 2
    assert pocketprune("list", "colours").code == 2


def test_the_installed_command_answers() -> None:
    command = [str(Path(sys.executable).with_name("pocketprune")), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env={**os.environ})
    assert "compare" in result.stdout and result.stderr == ""


@pytest.mark.parametrize(
    ("choices", "type_"),
    [
        (options.Accelerator, records.Accelerator),
        (options.Delegate, records.Delegate),
        (options.Screen, records.Screen),
    ],
)
def test_the_command_line_offers_what_the_records_know(choices: Any, type_: Any) -> None:
    assert [choice.value for choice in choices] == list(get_args(type_))
