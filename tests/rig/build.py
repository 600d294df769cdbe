"""Builds the root file system of the rig's devices, once: `python -m tests.rig.build [--arch arm64]` (needs root).

Debian with its adbd, Python, and the LiteRT that this environment has. The mirror is the one that this machine's apt
uses. The result lies in the cache under a name that changes with the recipe; it is built beside and renamed into place.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TextIO

SUITE = "trixie"
PYTHON = "3.13"  # the suite's own
PACKAGES = ("adbd", "python3", "procps")
WHEELS = ("ai-edge-litert", "numpy")
SITE = f"usr/local/lib/python{PYTHON}/dist-packages"
HIDDEN_PYTHON = "opt/rig/python3"
"""A second copy of the interpreter, for the rig itself: a phone shows none."""

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
NATIVE = {machine: arch for arch, machine in MACHINES.items()}.get(platform.machine(), "amd64")


class RigUnavailable(Exception):
    """This machine cannot build or run the rig; the text says what is missing, in one line."""


def cache_folder() -> Path:
    return Path(os.environ.get("POCKETPRUNE_RIG_CACHE") or Path.home() / ".cache" / "pocketprune" / "rig")


def base_root(arch: str = NATIVE, log: Callable[[str], None] = lambda line: None) -> tuple[Path, TextIO]:
    """The root file system for `arch` (amd64, arm64), built first where it is not in the cache.

    Returns:
        Its folder, and an open file: while that is open, nobody removes the folder.

    Raises:
        RigUnavailable: it cannot be built here.
    """
    root = cache_folder() / f"{SUITE}-{arch}-{recipe_hash(arch)}"
    if not root.is_dir():
        check_can_build(arch)
        root.parent.mkdir(parents=True, exist_ok=True)
        with open(root.parent / f"build-{arch}.lock", "a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # two test processes want it at the same time
            if not root.is_dir():
                build(root, arch, log)
    lock = open(lock_of(root), "a")  # noqa: SIM115 - the caller's
    fcntl.flock(lock, fcntl.LOCK_SH)
    return root, lock


def lock_of(root: Path) -> Path:
    return root.with_name(root.name + ".lock")


def remove_others(root: Path, arch: str) -> None:
    """Those of older recipes, if nobody uses them, and what builds that were killed have left."""
    for other in root.parent.glob(f"{SUITE}-{arch}-*"):
        if other.is_dir():
            with open(lock_of(other), "a") as lock, contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other)
                lock_of(other).unlink()


def recipe_hash(arch: str) -> str:
    parts = [Path(__file__).read_text(), arch, *(f"{name}=={metadata.version(name)}" for name in WHEELS)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def check_can_build(arch: str) -> None:
    if os.geteuid() != 0:
        raise RigUnavailable("needs root and debootstrap for the rig (tests/rig)")
    if shutil.which("debootstrap") is None:
        raise RigUnavailable("needs debootstrap for the rig (tests/rig): apt-get install debootstrap")
    if arch not in MACHINES:
        raise RigUnavailable(f"rig architecture {arch!r}: known are {', '.join(MACHINES)}")
    if arch != NATIVE:
        enable_foreign_binaries(arch)


def build(root: Path, arch: str, log: Callable[[str], None]) -> None:
    remove_others(root, arch)
    beside = Path(tempfile.mkdtemp(prefix=f"{SUITE}-{arch}-building-", dir=root.parent))
    beside.chmod(0o755)
    started_s = time.monotonic()
    mirror = debian_mirror()
    log(f"debootstrap {SUITE} {arch}")
    include = "--include=" + ",".join(PACKAGES)
    run(["debootstrap", "--variant=minbase", f"--arch={arch}", include, SUITE, str(beside), mirror], timeout_s=1800)
    log("LiteRT")
    install_wheels(beside, arch)
    hidden = beside / HIDDEN_PYTHON
    hidden.parent.mkdir(parents=True)
    shutil.copy2(beside / f"usr/bin/python{PYTHON}", hidden)
    shutil.rmtree(beside / "var/cache/apt", ignore_errors=True)
    shutil.rmtree(beside / "var/lib/apt/lists", ignore_errors=True)
    (beside / "etc/resolv.conf").write_text("")  # it has no network, and the host's names are no business of its
    beside.rename(root)
    log(f"{root}: {time.monotonic() - started_s:.0f} s")


def install_wheels(root: Path, arch: str) -> None:
    """pip of this environment fetches the wheels for the device's Python; LiteRT's interpreter needs numpy alone."""
    machine = MACHINES[arch]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(17, 40)] + [f"manylinux2014_{machine}"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--target", str(root / SITE), "--only-binary=:all:", "--implementation=cp"]
    command += [f"--python-version={PYTHON}", *(f"--platform={name}" for name in platforms)]
    run([*command, *(f"{name}=={metadata.version(name)}" for name in WHEELS)], timeout_s=600)


def debian_mirror() -> str:
    """The mirror of Debian that this machine's own apt uses."""
    output = run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], timeout_s=60)
    for address in output.splitlines():
        if address.rstrip("/").endswith("/debian"):
            return address.rstrip("/")
    raise RigUnavailable("needs a Debian mirror in apt's sources for the rig (tests/rig); there is none")


def enable_foreign_binaries(arch: str) -> None:
    """Have the kernel run another machine's programs through qemu, in every namespace (binfmt_misc, flag F)."""
    machine = MACHINES[arch]
    registry = Path("/proc/sys/fs/binfmt_misc")
    settings = Path(f"/usr/lib/binfmt.d/qemu-{machine}.conf")
    if not settings.exists():
        raise RigUnavailable(
            f"needs qemu-user-static for an {arch} device of the rig: apt-get install qemu-user-static"
        )
    if not (registry / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(registry)], timeout_s=20)
    if not (registry / f"qemu-{machine}").exists():
        (registry / "register").write_text(settings.read_text().strip())


def run(argv: Sequence[str], timeout_s: float) -> str:
    """Standard output of a command that must work.

    Raises:
        RigUnavailable: it failed, or took too long.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RigUnavailable(f"the rig (tests/rig) cannot be had here: {' '.join(argv[:3])}: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise RigUnavailable(f"the rig (tests/rig) cannot be had here: {' '.join(argv[:3])}: {'; '.join(said)}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the root file system of the rig's devices.")
    parser.add_argument("--arch", default=NATIVE, choices=sorted(MACHINES))
    try:
        print(base_root(parser.parse_args().arch, log=lambda line: print(line, file=sys.stderr, flush=True))[0])
    except RigUnavailable as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
