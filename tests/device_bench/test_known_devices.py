import time

import pytest

from device_bench import known_devices as known
from device_bench.devices import DeviceListing, ask_all, silent
from device_bench.errors import UsageError


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(known.VARIABLE, raising=False)


def test_no_file_no_devices():
    assert known.known_devices("adb") == ()


def test_the_named_file_counts_before_the_usual_ones(tmp_path, monkeypatch):
    usual = tmp_path / "config" / "pocketprune" / "devices.yaml"
    usual.parent.mkdir(parents=True)
    usual.write_text("devices: [adb://usual:1]")
    assert known.known_devices("adb") == ("adb://usual:1",)
    (tmp_path / "devices.yaml").write_text("devices:\n  - adb://here:1\n  - adb://here:1\n  - simctl://x\n")
    assert known.known_devices("adb") == ("adb://here:1",)
    named = tmp_path / "named.yaml"
    named.write_text("devices: [adb://named:1]")
    monkeypatch.setenv(known.VARIABLE, str(named))
    assert known.known_devices("adb") == ("adb://named:1",)


@pytest.mark.parametrize(
    "text", ["devices: 3", "phones: []", "- adb://x:1", "devices: [192.168.1.4]", "devices: [1]", "a: [", "\x00"]
)
def test_a_wrong_file_is_named_with_the_form(tmp_path, text):
    (tmp_path / "devices.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"devices\.yaml.*write `devices:`"):
        known.known_devices("adb")


def test_a_named_file_must_be_there(monkeypatch):
    monkeypatch.setenv(known.VARIABLE, "/nowhere.yaml")
    with pytest.raises(UsageError, match=r"/nowhere\.yaml: no such file"):
        known.known_devices("adb")


def test_one_that_hangs_holds_up_nobody():
    def answer():
        return DeviceListing(spec="quick", info=None, reason="asleep")

    listed = ask_all([("dead", lambda: time.sleep(60)), ("quick", answer)], 0.2, silent)
    assert [listing.spec for listing in listed] == ["dead", "quick"]
    assert "no answer" in listed[0].reason


def test_a_fault_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        ask_all([("broken", lambda: 1 // 0)], 1.0, silent)
