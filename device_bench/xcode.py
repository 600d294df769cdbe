"""Xcode's tools on this Mac, and what they make of our sources and of a user's model; products are kept and reused.

The tools are reached through `xcrun`, which finds those of the Xcode that is selected (man xcrun, xcode-select).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from device_bench.errors import DeviceUnavailableError, RunnerError, UsageError
from device_bench.modelfile import fingerprint
from device_bench.process import last_lines, output_of, run_to_end
from device_bench.shell import Finished

SOURCES = Path(__file__).parent / "runners" / "coreml"
QUICK_S = 20.0
BUILD_S = 300.0
KEPT_MODELS = 32
REMEDY = (
    "install Xcode from the App Store and open it once, then `sudo xcode-select -s /Applications/Xcode.app` "
    "(`xcode-select --install` is not enough: the Command Line Tools have neither simulators nor coremlcompiler)"
)


def is_mac() -> bool:
    """Every Mac has an `xcrun`, be it one that only offers to install the rest."""
    return shutil.which("xcrun") is not None


def unavailable() -> str | None:
    """Why Xcode's tools cannot be used, None where they can; it never opens macOS's offer to install something."""
    if not is_mac():
        return "Core ML and iOS simulators need macOS with Xcode, and there is no `xcrun` here; use a Mac"
    try:
        selected = run_to_end("`xcode-select -p`", ["xcode-select", "-p"], QUICK_S, tool_environment())
    except RunnerError as error:
        return f"{error}; {REMEDY}"
    folder = selected.stdout.strip()
    if selected.exit_code:
        return f"no developer tools are selected; {REMEDY}"
    if Path(folder).name == "CommandLineTools":
        return f"only the Command Line Tools are selected ({folder}); {REMEDY}"
    return None


def tool_environment() -> dict[str, str]:
    """For Xcode's tools: the user's, who may have chosen an Xcode by DEVELOPER_DIR, less what simctl would hand on.

    simctl gives a process in a simulator the variables that begin with SIMCTL_CHILD_ (`simctl help spawn`), and none
    of ours may steer how fast it runs.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("SIMCTL_CHILD_")}


def xcrun(*arguments: str, timeout_s: float = QUICK_S) -> Finished:
    """Run one of Xcode's tools to its end, whatever that is.

    Raises:
        RunnerError: it took longer than `timeout_s`.
    """
    return run_to_end(_called(arguments), ["xcrun", *arguments], timeout_s, tool_environment())


def must(*arguments: str, timeout_s: float = QUICK_S) -> str:
    """What a tool prints that has to do well.

    Raises:
        DeviceUnavailableError: it failed or hung; the text ends with its last output.
    """
    try:
        return output_of(_called(arguments), xcrun(*arguments, timeout_s=timeout_s))[0]
    except RunnerError as error:
        raise DeviceUnavailableError(str(error)) from error


def _called(arguments: tuple[str, ...]) -> str:
    words = [word for word in arguments if not word.startswith("-")]
    return " ".join(["`xcrun", *words[:2]]) + "`"


class Xcode:
    """The Xcode that is selected.

    Args:
        cache: folder that the products are kept in.

    Raises:
        DeviceUnavailableError: there is none; the text says what to install.
    """

    def __init__(self, cache: Path | None = None) -> None:
        reason = unavailable()
        if reason is not None:
            raise DeviceUnavailableError(reason)
        base = os.environ.get("XDG_CACHE_HOME")
        self._cache = cache or (Path(base) if base else Path.home() / ".cache") / "pocketprune" / "xcode"

    @functools.cached_property
    def version(self) -> str:
        """Such as "Xcode 26.1 Build version 17B55"."""
        return " ".join(must("xcodebuild", "-version", timeout_s=60.0).split())

    def compiled(self, model: Path) -> Path:
        """The .mlmodelc folder of a model; one is returned as it is.

        Raises:
            UsageError: coremlcompiler does not take the model.
            DeviceUnavailableError: Xcode's tools do not work.
        """
        if model.suffix == ".mlmodelc":
            return model

        def compile_into(folder: Path) -> None:
            ended = xcrun("coremlcompiler", "compile", str(model), str(folder), timeout_s=BUILD_S)
            if ended.exit_code:
                told = last_lines(ended.stdout, ended.stderr)
                raise UsageError(f"{model}: coremlcompiler does not take it; export the model again{told}")

        kept = self._made(f"model-{self._key(fingerprint(model)[0])}", compile_into)
        found = sorted(kept.glob("*.mlmodelc"))
        if len(found) != 1:
            raise DeviceUnavailableError(f"coremlcompiler left {len(found)} models in {kept}; remove it and try again")
        self._forget_old_models()
        return found[0]

    def runner(self, sdk: str, target: str) -> Path:
        """Our Swift runner, built for an SDK (`iphonesimulator`, `macosx`) and a target triple.

        Raises:
            DeviceUnavailableError: it does not build with this Xcode.
        """

        def build_into(folder: Path) -> None:
            sources = sorted(map(str, SOURCES.glob("*.swift")))
            options = ["-O", "-swift-version", "5", "-target", target]
            must("--sdk", sdk, "swiftc", *options, *sources, "-o", str(folder / "runner"), timeout_s=BUILD_S)

        kept = self._made(f"runner-{self._key(fingerprint(SOURCES)[0], sdk, target)}", build_into)
        return kept / "runner"

    def _key(self, *parts: str) -> str:
        return hashlib.sha256("\0".join((self.version, *parts)).encode()).hexdigest()[:32]

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of this name, made if it is not there; it appears whole or not at all."""
        kept = self._cache / name
        try:
            if not kept.is_dir():
                self._cache.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(prefix=".making-", dir=self._cache) as folder:
                    partial = Path(folder) / "made"
                    partial.mkdir()
                    make(partial)
                    with contextlib.suppress(FileExistsError, NotADirectoryError):  # another process was faster
                        partial.rename(kept)
            os.utime(kept)
        except OSError as error:
            raise DeviceUnavailableError(
                f"{self._cache}: cannot be written ({error}); free some space, or set XDG_CACHE_HOME to another folder"
            ) from error
        return kept

    def _forget_old_models(self) -> None:
        """Keep the models that were used last; a search leaves one for every plan that it tried."""
        models = sorted(self._cache.glob("model-*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in models[KEPT_MODELS:]:
            shutil.rmtree(folder, ignore_errors=True)
