"""Brings a phone or board into the state that a measurement wants, and says afterwards whether it stayed there.

Screen first, since it heats; then the battery's level; then the temperature, which is waited for. Charging is no
obstacle to a latency. A temperature is that of the battery and of the skin: a board's processor idles at 45 to 60
degrees and cools in seconds, so a limit that is made for a phone's case says nothing about it, and a device with
neither battery nor skin sensor is not waited for. Whether it was throttled is found after the run all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from device_bench.errors import DeviceUnavailableError
from device_bench.probes.state import DeviceState, read_state
from device_bench.records import Readiness
from device_bench.shell import Shell

POLL_S = 5.0
SCREEN_WAIT_S = 3.0
KEYS = {True: "KEYCODE_WAKEUP", False: "KEYCODE_SLEEP"}
WORDS = {True: "on", False: "off"}

ReadState = Callable[[Shell], DeviceState]


class Gatekeeper:
    """Readies one device, and gives it back as it was found.

    Args:
        read: reads the device's state.
        sleep, clock: for tests.
        tell: told what is waited for.
    """

    def __init__(
        self,
        shell: Shell,
        read: ReadState = read_state,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._shell = shell
        self._read = read
        self._sleep = sleep
        self._clock = clock
        self._tell = tell
        self._screen_found: bool | None = None

    def make_ready(self, readiness: Readiness) -> DeviceState:
        """Bring about what can be brought about, wait for the temperature, and return the state at the end.

        Raises:
            DeviceUnavailableError: the device cannot get there; the text says what is in the way and what helps.
        """
        state = self._read(self._shell)
        if readiness.screen != "any" and state.screen_on is not None:
            state = self._switch_screen(state, readiness.screen == "on")
        if state.battery_percent is not None and state.battery_percent < readiness.min_battery_percent:
            raise DeviceUnavailableError(
                f"battery at {state.battery_percent:.0f} %: at least {readiness.min_battery_percent} % is wanted; "
                "charge it, or lower --min-battery (readiness.min_battery_percent)"
            )
        if readiness.max_start_c is None:
            return state
        return self._cool_down(state, readiness.max_start_c, readiness.wait_s)

    def restore(self) -> None:
        """Switch the screen back to how it was found; a second call does nothing."""
        if self._screen_found is not None:
            found, self._screen_found = self._screen_found, None
            self._press(found)

    def _switch_screen(self, state: DeviceState, wanted: bool) -> DeviceState:
        if state.screen_on == wanted:
            return state
        if self._screen_found is None:
            self._screen_found = state.screen_on
        self._press(wanted)
        give_up_s = self._clock() + SCREEN_WAIT_S
        while True:
            state = self._read(self._shell)
            if state.screen_on == wanted:
                return state
            if self._clock() >= give_up_s:
                raise DeviceUnavailableError(
                    f"screen is {WORDS[not wanted]}: readiness.screen asks for {WORDS[wanted]}, and the device did not "
                    f"obey `input keyevent {KEYS[wanted]}`; switch it by hand, or leave --screen "
                    "(readiness.screen) at any"
                )
            self._sleep(0.5)

    def _press(self, on: bool) -> None:
        # Unlike KEYCODE_POWER these two never toggle the wrong way.
        self._shell.run(["input", "keyevent", KEYS[on]])

    def _cool_down(self, state: DeviceState, max_start_c: float, wait_s: float) -> DeviceState:
        started_s = self._clock()
        while _warmest_c(state) > max_start_c:
            waited_s = self._clock() - started_s
            if waited_s >= wait_s:
                raise DeviceUnavailableError(
                    f"{_heat(state)} after {waited_s:.0f} s of waiting: at most {max_start_c:g} C is wanted; let it "
                    "cool (out of its case, off the charger), or raise --max-start-c or --wait-s "
                    "(readiness.max_start_c, readiness.wait_s)"
                )
            self._tell(f"{_heat(state)}: waiting for {max_start_c:g} C")
            self._sleep(min(POLL_S, wait_s - waited_s))
            state = self._read(self._shell)
        return state


def rejections(readiness: Readiness, after: DeviceState) -> list[str]:
    """Why a measurement must not be believed, by the state after it; that it was throttled is told elsewhere."""
    wanted = readiness.screen == "on"
    if readiness.screen == "any" or after.screen_on is None or after.screen_on == wanted:
        return []
    return [f"screen went {WORDS[after.screen_on]} while measuring; raise the display's time-out in its settings"]


def _warmest_c(state: DeviceState) -> float:
    return max((c for c in (state.battery_c, state.skin_c) if c is not None), default=float("-inf"))


def _heat(state: DeviceState) -> str:
    parts = (("battery", state.battery_c), ("skin", state.skin_c))
    return ", ".join(f"{name} at {celsius:.1f} C" for name, celsius in parts if celsius is not None)
