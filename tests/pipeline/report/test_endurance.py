"""`bench --sustained` as its user meets it: table, JSON, picture, and what an interrupt or a fault leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import device_bench
from device_bench.devices.fake import FakeDevice
from device_bench.endurance import SustainedRun
from device_bench.errors import RunnerError
from pipeline import cli
from pipeline.report.endurance import plot_sustained
from pipeline.terminal.endurance import print_sustained


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "dense.tflite", tmp_path / "slim.tflite"]
    for path, size in zip(paths, (2_000_000, 1_000_000), strict=True):
        path.write_bytes(b"\x00\x00\x00\x00TFL3" + bytes(size))
    return paths


def call(*arguments: object) -> int:
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def on_a_phone(run: SustainedRun, sustained_fps: float) -> SustainedRun:
    """The same with sensors and a name as long as names are."""
    windows = [w.model_copy(update={"temperature_c": 44.6, "freq_mhz": 1200.0}) for w in run.windows]
    windows[0] = windows[0].model_copy(update={"freq_mhz": 2400.0})
    artifact = run.artifact.model_copy(update={"path": f"models/{run.artifact.size_bytes}-mobilenet_v2_pruned.tflite"})
    seen: dict[str, Any] = {"start_c": 31.2, "sensor": "skin", "throttled": True, "missing": {}, "idle_s": 30.0}
    return run.model_copy(
        update={**seen, "windows": tuple(windows), "sustained_fps": sustained_fps, "artifact": artifact}
    )


def test_a_table_json_and_a_picture(models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written, drawn = tmp_path / "out.json", tmp_path / "out.png"
    device = "fake://lab?tires=0.4"
    assert call("bench", *models, "--device", device, "--sustained", "10", "--json", written, "--plot", drawn) == 0
    out = capsys.readouterr().out
    assert "33.6%" in out and "2, 2" in out and "(fake)" in out
    assert "no temperature_c, start_c, freq_mhz, throttled: a fake device has none" in out
    runs = [SustainedRun.model_validate(run) for run in json.loads(written.read_text())["sustained"]]
    assert [len(run.windows) for run in runs] == [60, 60] and runs[0].cold_fps < runs[1].cold_fps
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_the_table_fits_a_narrow_terminal(
    models: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    runs = device_bench.sustained(models, "fake://lab?tires=0.4", minutes=10)
    print_sustained([on_a_phone(run, fps) for run, fps in zip(runs, (300.0, 200.0), strict=True)])
    out = capsys.readouterr().out
    assert max(map(len, out.partition("device:")[0].splitlines())) <= 80
    assert "31-45" in out and "2400-1200" in out
    assert "2, 1" in out and "1, 2" in out, "the ranks changed places"
    assert out.count("throttled: ") == 2 and "30 of 600 s went by between the windows" in out


def test_a_picture_has_the_panels_that_there_is_something_for(models: list[Path], tmp_path: Path) -> None:
    runs = device_bench.sustained(models, "fake://lab", minutes=1)
    plot_sustained(runs, tmp_path / "one.png")
    plot_sustained([on_a_phone(run, 100.0) for run in runs], tmp_path / "three.png")
    height = [int.from_bytes((tmp_path / f"{name}.png").read_bytes()[20:24]) for name in ("one", "three")]
    assert height[1] > 1.5 * height[0]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["one.png", "three.png"]


@pytest.mark.parametrize(("fault", "code"), [(KeyboardInterrupt(), 130), (RunnerError("died"), 3)])
def test_what_is_done_is_shown_and_written(
    models: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    code: int,
) -> None:
    kept = FakeDevice.sustain

    def slim_fails(self: FakeDevice, job: Any) -> Any:
        if job.models[0].path.name == "slim.tflite":
            raise fault
        return kept(self, job)

    monkeypatch.setattr(FakeDevice, "sustain", slim_fails)
    written = tmp_path / "out.json"
    assert call("bench", *models, "--device", "fake://lab", "--sustained", "1", "--json", written) == code
    assert "dense.tflite" in capsys.readouterr().out
    assert len(json.loads(written.read_text())["sustained"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sustained", "0"), "0 minutes of load: give more than 0"),
        (("--sustained", "nan"), "nan minutes of load"),
        (("--plot", "x.png"), "add --sustained MINUTES"),
        (("--sustained", "1", "--plot", "nowhere/x.png"), "its folder does not exist"),
    ],
)
def test_a_load_is_not_begun_in_vain(
    models: list[Path], capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert call("bench", *models, "--device", "fake://lab", *options) == 2
    said = capsys.readouterr()
    assert said.out == "" and message in " ".join(said.err.replace("│", "").split())


def test_a_rejected_model_is_exit_code_4(models: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("bench", models[0], "--device", "fake://lab?reject=too%20hot", "--sustained", "1") == 4
    assert "REJECTED" in capsys.readouterr().out
