import json
import zipfile

import pytest

from device_bench.errors import DeviceUnavailableError, UsageError
from device_bench.selftest import SelfTest, _without_serial, selftest


def outcomes(result):
    return {trial.name: trial.outcome for trial in result.trials}


def test_this_machine_passes_and_the_bundle_says_so(tiny_tflite, tmp_path):
    told = []
    result = selftest("host", [tiny_tflite], tmp_path / "b.zip", on_trial=told.append)
    assert result.passed, result.trials
    assert told == [trial.name for trial in result.trials]
    assert outcomes(result)[f"{tiny_tflite.name} on cpu"] == "passed"
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        stored = SelfTest.model_validate(json.loads(archive.read("selftest.json")))
    assert stored == result and stored.measurements[0].valid
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


def test_a_fault_fails_its_trial_and_ends_no_other(tiny_tflite, tmp_path):
    result = selftest("fake://lab?reject=too%20hot", [tiny_tflite], tmp_path / "b.zip")
    tried = outcomes(result)
    assert not result.passed
    assert tried[f"{tiny_tflite.name} on cpu"] == "failed" and tried["two models in turns"] == "passed"
    assert tried["power"] == "not here"
    assert "too hot" in next(
        trial.detail for trial in result.trials if trial.outcome == "failed" and "on cpu" in trial.name
    )


def test_no_device_no_bundle(tiny_tflite, tmp_path):
    with pytest.raises(DeviceUnavailableError):
        selftest("fake://gone", [tiny_tflite], tmp_path / "b.zip")
    with pytest.raises(UsageError, match="cannot be written"):
        selftest("fake://lab", [tiny_tflite], tmp_path / "nowhere" / "b.zip", power=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        ("adb+usb://8A1X0ABCD", "adb+usb://(serial left out)"),
        ("adb+server://8A1X0ABCD", "adb+server://(serial left out)"),
        ("adb://10.0.0.2:5555", "adb://10.0.0.2:5555"),
        ("host", "host"),
    ],
)
def test_a_bundle_for_others_names_no_serial(spec, kept):
    assert _without_serial(spec) == kept
