"""Core ML on a Mac, as far as a scripted `xcrun` can stand for Xcode; a real Mac has its self-test."""

import re
import sys
from pathlib import Path

import pytest

from device_bench.coreml import RunnerOutput
from device_bench.device import Missing
from device_bench.devices import mac
from device_bench.devices.host import host_info
from device_bench.errors import DeviceUnavailableError, RunnerError, UsageError
from device_bench.records import BenchSpec
from tests.device_bench.coreml_samples import ANSWER, MODEL, XCODE, build_call, job, package, printed
from tests.device_bench.scripted_xcrun import ANY, ScriptedXcrun, scripted_xcrun

__all__ = ["scripted_xcrun"]
VERSION = ("xcrun", "xcodebuild", "-version")
BUILD = build_call("macosx", "arm64-apple-macos14.0")


def program(text: str) -> str:
    return f"#!{sys.executable} -IS\n{text}\n"


def prints(answer) -> str:
    return program(f"print({printed(answer)!r})")


@pytest.fixture
def a_mac(scripted_xcrun: ScriptedXcrun) -> ScriptedXcrun:
    scripted_xcrun.developer_folder()
    scripted_xcrun.expect(*VERSION, stdout=XCODE)
    return scripted_xcrun


def test_a_model_is_compiled_and_run(a_mac: ScriptedXcrun, tmp_path: Path):
    path = package(tmp_path / "dein “Netz”; $(reboot).mlpackage")
    a_mac.expect(*BUILD, makes=prints(ANSWER))
    a_mac.expect("xcrun", "coremlcompiler", "compile", str(path), ANY, makes="model")
    with mac.connect("mac") as device:
        assert device.info() == host_info() and device.info().kind == "host"
        device.check(path, BenchSpec())
        result = device.run(job(path))
    assert result.runtime.name == "coreml" and result.runtime.version == "3404.16.1"
    assert result.models[0].blocks == ((1.0, 1.5, 1.25),)
    assert result.memory is not None and (result.memory.peak_rss_mb, result.memory.model_mb) == (20.0, 16.0)
    assert result.thermal is not None and result.thermal.throttled is False
    assert result.missing == {} and result.rejections == ()
    assert "no delegate" in result.models[0].missing["delegate"]


def test_products_are_made_once(a_mac: ScriptedXcrun, tmp_path: Path):
    one, same = package(tmp_path / "one.mlpackage"), package(tmp_path / "copies" / "one.mlpackage")
    other = package(tmp_path / "other.mlpackage", b"another program")
    a_mac.expect(*BUILD, makes=prints(ANSWER))
    a_mac.expect("xcrun", "coremlcompiler", "compile", str(one), ANY, makes="model")
    a_mac.expect("xcrun", "coremlcompiler", "compile", str(other), ANY, makes="model")
    device = mac.connect("mac")
    for path in (one, same, other, one):
        device.run(job(path))
    a_mac.developer_folder()
    a_mac.expect(*VERSION, stdout="Xcode 26.2\nBuild version 17C52\n")  # another Xcode makes its own
    a_mac.expect(*BUILD, makes=prints(ANSWER))
    a_mac.expect("xcrun", "coremlcompiler", "compile", str(one), ANY, makes="model")
    mac.connect("mac").run(job(one))


def test_a_compiled_model_is_taken_as_it_is(a_mac: ScriptedXcrun, tmp_path: Path):
    path = tmp_path / "net.mlmodelc"
    path.mkdir()
    (path / "coremldata.bin").write_bytes(b"")
    a_mac.expect(*BUILD, makes=prints(ANSWER))
    device = mac.connect("mac://")
    device.check(path, BenchSpec())
    assert device.run(job(path)).models


def test_several_models_share_a_process_and_have_no_memory_of_their_own(a_mac: ScriptedXcrun, tmp_path: Path):
    path = package(tmp_path / "net.mlpackage")
    a_mac.expect(*BUILD, makes=prints({**ANSWER, "models": [MODEL, MODEL], "plans": [None, None]}))
    a_mac.expect("xcrun", "coremlcompiler", "compile", str(path), ANY, makes="model")
    result = mac.connect("mac").run(job(path, path))
    assert len(result.models) == 2 and result.memory is None and "shared" in result.missing["memory"]


@pytest.mark.parametrize(
    ("changes", "rejection", "reason"),
    [
        ({"plans": [[58, 60]]}, None, "58 of 60 operations on the ane"),
        ({"plans": [[0, 60]]}, r"not delegated: .* none of the 60 operations of net\.mlpackage on the ane", "0 of 60"),
        ({"plans": [None]}, None, "does not say where"),
        ({"plans": []}, None, "does not say where"),
        ({"translated": True}, "translated by Rosetta", "does not say where"),
    ],
)
def test_what_core_ml_plans_is_no_proof_that_it_ran(a_mac, tmp_path: Path, changes, rejection, reason):
    path = package(tmp_path / "net.mlpackage")
    a_mac.expect(*BUILD, makes=prints({**ANSWER, **changes}))
    a_mac.expect("xcrun", "coremlcompiler", "compile", str(path), ANY, makes="model")
    result = mac.connect("mac").run(job(path, accelerator="ane"))
    assert result.models[0].delegate is None and reason in result.models[0].missing["delegate"]
    told = " ".join(result.rejections)
    assert re.search(rejection, told) if rejection else not told


@pytest.mark.parametrize(
    ("states", "throttled"),
    [(["nominal", "fair"], False), (["fair", "serious"], True), (["critical", "nominal"], True)],
)
def test_heat_is_a_class(a_mac: ScriptedXcrun, tmp_path: Path, states, throttled):
    path = package(tmp_path / "net.mlpackage")
    a_mac.expect(*BUILD, makes=prints({**ANSWER, "thermal_states": states}))
    a_mac.expect("xcrun", "coremlcompiler", "compile", str(path), ANY, makes="model")
    thermal = mac.connect("mac").run(job(path)).thermal
    assert thermal is not None and thermal.throttled is throttled and thermal.start_c is None


def test_what_the_system_does_not_tell_is_missing_with_the_reason(a_mac: ScriptedXcrun, tmp_path: Path):
    path = package(tmp_path / "net.mlpackage")
    changes = {"coreml_version": None, "peak_bytes": None, "thermal_states": ["unknown", "unknown"]}
    a_mac.expect(*BUILD, makes=prints({**ANSWER, **changes}))
    a_mac.expect("xcrun", "coremlcompiler", "compile", str(path), ANY, makes="model")
    device = mac.connect("mac")
    result = device.run(job(path))
    assert result.memory is None and result.thermal is None and set(result.missing) == {"memory", "thermal"}
    assert result.runtime.version == "that of Version 26.4 (Build 23E1)"
    power = device.power(job(path))
    assert isinstance(power, Missing) and "root" in power.reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import sys; sys.exit('dyld: Symbol not found')",
            r"net\.mlpackage: the runner ended with exit code 1;.*\n  dyld",
        ),
        ("import os; os.abort()", "SIGABRT"),
        ("print('hello')", "without a result"),
        ("import time; time.sleep(60)", "longer than 1 s"),
        (f"print({printed({**ANSWER, 'models': []})!r})", "answered for 0 models of 1"),
    ],
)
def test_a_bad_runner_is_an_error_with_its_last_output(a_mac: ScriptedXcrun, tmp_path: Path, text, message):
    path = package(tmp_path / "net.mlpackage")
    a_mac.expect(*BUILD, makes=program(text))
    a_mac.expect("xcrun", "coremlcompiler", "compile", str(path), ANY, makes="model")
    with pytest.raises(RunnerError, match=message):
        mac.connect("mac").run(job(path).model_copy(update={"timeout_s": 1 if "sleep" in text else 30}))


def test_a_model_that_core_ml_refuses_is_the_users(a_mac: ScriptedXcrun, tmp_path: Path):
    path = package(tmp_path / "net.mlpackage")
    a_mac.expect(
        *BUILD, makes=prints({"refused": {"path": str(path), "message": "Core ML cannot load it: bad weights"}})
    )
    a_mac.expect("xcrun", "coremlcompiler", "compile", str(path), ANY, makes="model")
    with pytest.raises(UsageError, match=r"net\.mlpackage: Core ML cannot load it: bad weights; export"):
        mac.connect("mac").run(job(path))


def test_a_model_that_does_not_compile_is_the_users_and_leaves_nothing(a_mac: ScriptedXcrun, tmp_path: Path):
    path = package(tmp_path / "net.mlpackage")
    a_mac.expect(*BUILD, makes=prints(ANSWER))
    compiles = ("xcrun", "coremlcompiler", "compile", str(path), ANY)
    a_mac.expect(*compiles, stderr="error: Unsupported opset", exit_code=1)
    device = mac.connect("mac")
    with pytest.raises(UsageError, match=r"net\.mlpackage: coremlcompiler does not take it(?s:.*)Unsupported opset"):
        device.run(job(path))
    a_mac.expect(*compiles, makes="model")  # nothing that looks like a product was kept
    assert device.run(job(path)).models
    assert not list((tmp_path / "cache").rglob(".making-*"))


def test_a_runner_that_does_not_build_names_the_tool(a_mac: ScriptedXcrun, tmp_path: Path):
    a_mac.expect(*BUILD, stderr="error: cannot find type 'MLComputePlan' in scope", exit_code=1)
    with pytest.raises(DeviceUnavailableError, match=r"`xcrun macosx swiftc`(?s:.*)MLComputePlan"):
        mac.connect("mac").run(job(package(tmp_path / "net.mlpackage")))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"accelerator": "npu"}, "accelerator 'npu': .* cpu, gpu, ane"),
        ({"delegate": "xnnpack"}, "delegate 'xnnpack': .* none to choose"),
        ({"threads": 4}, "threads 4: Core ML chooses"),
        ({"affinity": [0]}, "affinity .* leave it out"),
    ],
)
def test_a_spec_that_cannot_be_had_is_refused(scripted_xcrun: ScriptedXcrun, tmp_path: Path, spec, message):
    scripted_xcrun.developer_folder()
    with pytest.raises(UsageError, match=message):
        mac.connect("mac").check(package(tmp_path / "net.mlpackage"), BenchSpec.model_validate(spec))


def test_a_tflite_file_is_told_what_to_do(scripted_xcrun: ScriptedXcrun, tmp_path: Path):
    scripted_xcrun.developer_folder()
    with pytest.raises(UsageError, match=r"missing\.tflite: .* give it the \.mlpackage"):
        mac.connect("mac").check(tmp_path / "missing.tflite", BenchSpec())


def test_only_one_mac_is_known():
    with pytest.raises(UsageError, match="write `mac`"):
        mac.connect("mac://mini")


def test_without_a_mac_nothing_is_listed_and_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mac.discover() == []
    with pytest.raises(DeviceUnavailableError, match=r"need macOS with Xcode.* no `xcrun`"):
        mac.connect("mac")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            {"exit_code": 2, "stderr": "xcode-select: error: unable to get active developer directory"},
            "no developer tools",
        ),
        ({"stdout": "/Library/Developer/CommandLineTools\n"}, "only the Command Line Tools"),
    ],
)
def test_a_mac_without_xcode_says_what_to_install(scripted_xcrun: ScriptedXcrun, reply, message):
    for _ in range(2):
        scripted_xcrun.expect("xcode-select", "-p", **reply)
    with pytest.raises(DeviceUnavailableError, match=f"{message}.*App Store.*is not enough") as caught:
        mac.connect("mac")
    assert caught.value.exit_code == 3
    (listing,) = mac.discover()
    assert listing.info is None and message in (listing.reason or "")


def test_an_xcode_whose_licence_was_not_agreed_to_says_so(scripted_xcrun: ScriptedXcrun, tmp_path: Path):
    scripted_xcrun.developer_folder()
    scripted_xcrun.expect(*VERSION, exit_code=69, stderr="You have not agreed to the Xcode license agreements.")
    with pytest.raises(DeviceUnavailableError, match=r"xcodebuild`(?s:.*)not agreed"):
        mac.connect("mac").run(job(package(tmp_path / "net.mlpackage")))


def test_a_mac_with_xcode_is_listed(scripted_xcrun: ScriptedXcrun):
    scripted_xcrun.developer_folder()
    (listing,) = mac.discover()
    assert listing.spec == "mac" and listing.info == host_info() and listing.runner


def test_the_runners_answer_has_one_form():
    assert RunnerOutput.model_validate(ANSWER).models[0].golden_error is None
    wrong = {**ANSWER, "models": [{**MODEL, "golden_error": "Infinity"}]}  # JSON has no infinity
    assert RunnerOutput.model_validate(wrong).models[0].golden_error == float("inf")
