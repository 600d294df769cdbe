"""`pocketprune noise`, and where `compare` and `bench` show what it found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device_bench.device import Missing
from device_bench.records import NoiseFloor
from pipeline import cli
from pipeline.terminal.noise import print_device_noise, print_noise_of_models

NOISY = "fake://lab?noise=0.01"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").write_bytes(bytes(500_000))
    return tmp_path


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    return int(end.value.code or 0)


def test_noise_tells_a_person_and_a_file_what_can_be_seen(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call("noise", "model", "--device", NOISY, "--json", "noise.json") == 0
    out = capfd.readouterr().out
    floors = {one["processes"]: one for one in json.loads((folder / "noise.json").read_text())["floors"]}
    three, five = (f"{floors[count]['floor']:.1%}" for count in (3, 5))
    assert f"differences below {three} cannot be told here with 3 processes, below {five} with 5" in out
    assert "learned from 12 processes in 4 sitting(s)" in out
    assert max(map(len, out.splitlines())) <= 80


def test_compare_and_bench_show_it_afterwards(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    call("bench", "model", "--device", NOISY)
    assert "noise floor of this device: not known: 0 processes" in capfd.readouterr().out
    call("noise", "model", "--device", NOISY)
    capfd.readouterr()
    compare = ("compare", "model", "model", "--device", NOISY, "--precision", "0", "--json", "compared.json")
    for arguments in (("bench", "model", "--device", NOISY), compare):
        assert call(*arguments) == 0
        out = capfd.readouterr().out
        assert "noise floor of this device: " in out and " with 3 processes; learned from 1" in out
        assert max(map(len, out.splitlines())) <= 80
    assert json.loads((folder / "compared.json").read_text())["device_noise"]["n"] == 15


def test_bench_shows_what_is_known_for_each_models_size(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "other.tflite").write_bytes((folder / "model").read_bytes())
    call("noise", "model", "--device", NOISY)
    capfd.readouterr()
    assert call("bench", "model", "other.tflite", "--device", NOISY, "--json", "bench.json") == 0
    known = json.loads((folder / "bench.json").read_text())["device_noise"]
    assert len(known) == 2 and known[0] == known[1] and known[0]["n"] == 12
    assert capfd.readouterr().out.count("noise floor of this device: ") == 1
    floor = NoiseFloor.model_validate(known[0])
    print_noise_of_models(["small", "large", "tiny"], [floor, Missing(reason="too few"), floor])
    out = capfd.readouterr().out
    assert "for small, tiny: " in out and "for large: not known: too few" in out


def test_a_device_whose_measurements_are_rejected_has_no_floor(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("noise", "model", "--device", "fake://hot?reject=charging") == 4
    out = capfd.readouterr().out
    assert "noise floor not known: 0 processes" in out and "rejected: charging" in out


def test_long_reasons_are_folded(capfd: pytest.CaptureFixture[str]) -> None:
    print_device_noise(Missing(reason="no " * 60))
    assert max(map(len, capfd.readouterr().out.splitlines())) <= 80
