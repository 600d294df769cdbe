"""What a name means, among the simulators that simctl tells of."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.errors import DeviceUnavailableError, UsageError
from device_bench.simulators import Catalogue, NewSimulator, Simulator, find, read_catalogue

RUNTIME = "com.apple.CoreSimulator.SimRuntime."
TYPE = "com.apple.CoreSimulator.SimDeviceType."


def device(udid: str, name: str, **more: Any) -> dict[str, Any]:
    return {"udid": udid, "name": name, "state": "Shutdown", "isAvailable": True, "dataPath": "/x", **more}


def catalogue(devices: dict[str, list[dict[str, Any]]], runtimes: list[dict[str, Any]] | None = None) -> Catalogue:
    types = [
        {"identifier": f"{TYPE}iPhone-17", "name": "iPhone 17"},
        {"identifier": f"{TYPE}iPad-A16", "name": "iPad (A16)"},
    ]
    told = {"devices": {RUNTIME + name: value for name, value in devices.items()}, "devicetypes": types}
    return read_catalogue(json.dumps({**told, "runtimes": runtimes or [], "pairs": {}}))


def runtime(name: str, *types: str, available: bool = True) -> dict[str, Any]:
    supported = [{"identifier": TYPE + type_, "name": type_.replace("-", " ")} for type_ in types]
    return {"identifier": RUNTIME + name, "isAvailable": available, "supportedDeviceTypes": supported, "name": name}


def test_a_name_or_a_udid_names_one():
    known = catalogue({"iOS-26-4": [device("AAAA-1", "iPhone 17"), device("AAAA-2", "Zoë's phone")]})
    for name in ("AAAA-2", "aaaa-2", "Zoë's phone", "Zoe\u0308's phone"):
        found = find(known, name)
        assert isinstance(found, Simulator) and (found.udid, found.system) == ("AAAA-2", "iOS 26.4")


def test_a_udid_goes_before_a_name():
    known = catalogue({"iOS-26-4": [device("AAAA-1", "AAAA-2"), device("AAAA-2", "other")]})
    found = find(known, "AAAA-2")
    assert isinstance(found, Simulator) and found.name == "other"


def test_of_several_of_a_name_the_usable_one_is_meant():
    gone = device("AAAA-1", "iPhone 17", isAvailable=False, availabilityError="runtime profile not found")
    known = catalogue({"iOS-26-1": [gone], "iOS-26-4": [device("AAAA-2", "iPhone 17")]})
    found = find(known, "iPhone 17")
    assert isinstance(found, Simulator) and found.udid == "AAAA-2"


def test_several_usable_ones_of_a_name_are_listed():
    known = catalogue({"iOS-18-2": [device("AAAA-1", "iPhone 17")], "iOS-26-4": [device("AAAA-2", "iPhone 17")]})
    with pytest.raises(UsageError, match=r"simctl://AAAA-1 \(iOS 18\.2\); simctl://AAAA-2 \(iOS 26\.4\)"):
        find(known, "iPhone 17")


@pytest.mark.parametrize(
    ("system", "more", "reason"),
    [
        (
            "iOS-26-1",
            {"isAvailable": False, "availabilityError": "runtime profile not found"},
            "runtime profile not found",
        ),
        ("iOS-26-1", {"isAvailable": False}, "unavailable"),
        ("iOS-16-4", {}, r"too old for the runner: iOS 17\.0 or later"),
    ],
)
def test_one_that_cannot_be_used_says_why(system, more, reason):
    known = catalogue({system: [device("AAAA-1", "my phone", **more)]})
    with pytest.raises(DeviceUnavailableError, match=reason):
        find(known, "my phone")


def test_a_type_of_device_gives_a_new_one_under_the_newest_runtime_that_has_it():
    runtimes = [
        runtime("iOS-18-2", "iPhone-17", "iPad-A16"),
        runtime("iOS-26-10", "iPhone-17"),
        runtime("iOS-26-9", "iPhone-17"),
        runtime("iOS-27-0", "iPhone-17", available=False),
        runtime("iOS-26-11", "iPad-A16"),
        runtime("xrOS-30-0", "iPhone-17"),
    ]
    found = find(catalogue({}, runtimes), "iPhone 17")
    wanted = {"device_type": f"{TYPE}iPhone-17", "runtime": f"{RUNTIME}iOS-26-10", "system": "iOS 26.10"}
    assert found == NewSimulator(name="iPhone 17", **wanted)
    assert find(catalogue({}, runtimes), f"{TYPE}iPhone-17") == found


def test_a_type_without_a_runtime_says_what_brings_one():
    with pytest.raises(DeviceUnavailableError, match="-downloadPlatform iOS"):
        find(catalogue({}, [runtime("iOS-16-4", "iPhone-17"), runtime("watchOS-11-0")]), "iPhone 17")


def test_an_unknown_name_lists_the_known_ones():
    known = catalogue(
        {"iOS-26-4": [device("AAAA-1", "iPhone 17"), device("AAAA-2", "my iPad")], "tvOS-26-4": [device("T", "TV")]}
    )
    with pytest.raises(DeviceUnavailableError, match=r"iPhone 17, my iPad$"):
        find(known, "iPhone 99")
    with pytest.raises(DeviceUnavailableError, match="none; `xcodebuild"):
        find(catalogue({}), "TV")


def test_states_are_told_by_udid():
    known = catalogue({"iOS-26-4": [device("AAAA-1", "one", state="Booted")]})
    assert (known.state("AAAA-1"), known.state("AAAA-9")) == ("Booted", "gone")


@given(
    st.text(max_size=60)
    | st.recursive(st.none() | st.text(), lambda part: st.dictionaries(st.text(), part)).map(json.dumps)
)
def test_anything_else_is_no_list(text):
    try:
        assert isinstance(read_catalogue(text), Catalogue)
    except DeviceUnavailableError as error:
        assert "no list of simulators" in str(error)
