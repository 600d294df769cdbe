"""A device of the rig: real adbd in namespaces of its own, at an address of its own, with faults to order."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rig.build import NATIVE, RigUnavailable, base_root, cache_folder, run
from tests.rig.link import Link

HERE = Path(__file__).parent
PERSONALITIES = HERE / "personalities"
PORT = 5555
STOP_S = 20.0
BOOT_S = 120.0  # an emulated one takes its time
STORAGE_MB = 256
TOOLS = ("unshare", "nsenter", "ip", "mount", "chroot")
FILL = ".rig-fill"
SHELL_UID = 2000


class RigDevice:
    """One device; use it as a context manager. It starts clean, and takes everything with it when it ends.

    Nothing of it outlives the process that made it, however that ends: each of its processes reads a pipe from there,
    and mounts, addresses and network links belong to namespaces that vanish with the processes.

    Args:
        personality: a folder of personalities/; `board` is a plain Linux board with Python and LiteRT.
    """

    def __init__(self, personality: str = "board", arch: str = NATIVE) -> None:
        self.personality_name = personality
        self.arch = arch
        self._keeper: subprocess.Popen[str] | None = None
        self._machine: subprocess.Popen[bytes] | None = None
        self._init_pid = 0

    # --- what it is

    @property
    def host(self) -> str:
        return self.link.device_address

    @property
    def port(self) -> int:
        return PORT

    @property
    def spec(self) -> str:
        return f"adb://{self.host}:{self.port}"

    @property
    def identity(self) -> str:
        """Its machine id or serial number: another one for another personality, the same after a reboot."""
        text = f"{self.personality_name} {self.arch} {self.link.interface}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def root(self) -> Path:
        """Its root folder, seen from here; absolute symbolic links inside lead out of it."""
        return Path(f"/proc/{self._init_pid}/root")

    @property
    def storage(self) -> str:
        """The folder, on the device, that a client is expected to use; a small disk of its own."""
        return "/data/local/tmp" if self.is_phone else "/var/tmp"

    @property
    def is_phone(self) -> bool:
        return self.personality_name != "board"

    # --- on and off

    def __enter__(self) -> Self:
        self._base, self._base_lock = base_root(self.arch)
        self.link = Link()
        try:
            self._switch_on()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._switch_off()
        self.link.close()
        self._base_lock.close()

    def _switch_on(self) -> None:
        """The parts that outlast a reboot first: the disk and the switch; guest/setup.sh makes and holds them."""
        mountpoint = cache_folder() / "mnt"
        mountpoint.mkdir(exist_ok=True)
        self._mounted_root = mountpoint / "root"
        command = ["unshare", "--net", "--mount", "sh", str(HERE / "guest/setup.sh"), str(self._base), str(mountpoint)]
        command += [self.storage, f"{STORAGE_MB}m", "yes" if self.is_phone else "no", self.identity]
        command += map(str, personality_layers(self.personality_name))
        self._keeper = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._keeper.stdout and self._keeper.stderr
        if self._keeper.stdout.readline() != "ready\n":
            raise RigUnavailable(f"the rig cannot start a device here: {self._keeper.stderr.read().strip()}")
        self.link.plug_in(self._keeper.pid)
        self._boot()
        if self.is_phone:
            self.give_benchmark_model()

    def _boot(self) -> None:
        assert self._keeper
        inside = ["nsenter", f"--target={self._keeper.pid}", "--mount"]
        private = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        script = ["sh", str(HERE / "guest/boot.sh"), str(self._mounted_root), f"rig-{self.personality_name}"]
        self._machine = subprocess.Popen(
            [*inside, *private, *script], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._init_pid = self._wait_for(self._first_child)
        self.link.attach(self._init_pid)
        assert self._machine.stdin
        self._machine.stdin.write(b"\n")
        self._machine.stdin.flush()
        self.wait_for_adbd()

    def _first_child(self) -> int:
        assert self._machine
        pids = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children").read_text().split()
        return int(pids[0]) if pids else 0

    def wait_for_adbd(self) -> None:
        """Until adbd listens inside the device, whatever the link does."""
        self._wait_for(self._listens)

    def _listens(self) -> int:
        """How many sockets wait for clients of adbd.

        /proc/PID/net is that process's network: local address, port and state (0A: listening) in hexadecimal.
        """
        tables = (Path(f"/proc/{self._init_pid}/net/{name}").read_text() for name in ("tcp", "tcp6"))
        rows = [row.split() for table in tables for row in table.splitlines()[1:]]
        return sum(row[1].endswith(f":{PORT:04X}") and row[3] == "0A" for row in rows)

    def _wait_for(self, condition: Callable[[], int]) -> int:
        assert self._machine and self._machine.stderr
        deadline_s = time.monotonic() + BOOT_S
        while time.monotonic() < deadline_s:
            if self._machine.poll() is not None:
                raise RigUnavailable(f"a device of the rig died: {self._machine.stderr.read().decode().strip()}")
            if value := condition():
                return value
            time.sleep(0.01)
        raise RigUnavailable(f"a device of the rig did not start within {BOOT_S:.0f} s")

    def _halt(self) -> None:
        if self._machine is None:
            return
        if self._init_pid and self._machine.poll() is None:
            os.kill(self._init_pid, signal.SIGKILL)  # process 1: the kernel ends all others first; its parent reaps it
            self._machine.wait(STOP_S)
        stop(self._machine)
        self._machine, self._init_pid = None, 0

    def _switch_off(self) -> None:
        self._halt()
        if self._keeper:
            stop(self._keeper)
            self._keeper = None

    def reset(self) -> None:
        """As new: a clean disk, a whole link, the same personality and address."""
        self.personality(self.personality_name)

    def personality(self, name: str) -> None:
        """Become another device at the same address, with a clean disk."""
        personality_layers(name)
        self._switch_off()
        self.link.unplug()
        self.personality_name = name
        self._switch_on()

    # --- an eye of its own

    def shell(self, argv: Sequence[str], timeout_s: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the device as root, past adb."""
        inside = [
            "nsenter",
            f"--target={self._init_pid}",
            "--mount",
            "--net",
            "--uts",
            "--ipc",
            "--pid",
            "--root",
            "--wd",
        ]
        return subprocess.run(
            [*inside, *argv], capture_output=True, errors="replace", timeout=timeout_s, stdin=subprocess.DEVNULL
        )

    def processes(self) -> list[list[str]]:
        """Argument lists of what runs in the device, but for its init and adbd."""
        namespace = os.readlink(f"/proc/{self._init_pid}/ns/pid")
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) == self._init_pid:
                continue
            try:
                if os.readlink(folder / "ns/pid") == namespace:
                    argv = (folder / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
                    if argv[-1] not in ("", "adbd"):  # the last word: an emulated adbd comes after its emulator
                        found.append(argv)
            except OSError:
                continue  # it ended meanwhile
        return found

    def files(self, path: str) -> list[str]:
        """Every file and folder below a folder of the device, relative to it, sorted; empty where it is missing."""
        folder = self.root / path.lstrip("/")
        return sorted(str(below.relative_to(folder)) for below in folder.rglob("*"))

    @property
    def tools(self) -> str:
        """The folder, on the device, where users put a `benchmark_model` of theirs."""
        return f"{self.storage}/pocketprune/tools"

    def give_benchmark_model(self, build: str = "current", fault: str | None = None) -> str:
        """Put the stand-in for `benchmark_model` there; a phone has one from the start.

        Args:
            build: whose lines it prints: old, tflite, current or litert; see guest/benchmark_model.py.
            fault: None, segv, hang, garbage, or wrong: a fast wrong answer.
        """
        source = HERE / "guest/benchmark_model.py"
        folder = self.root / self.tools.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / source.stem)
        (folder / source.stem).chmod(0o755)
        (folder / f"{source.stem}.plays").write_text(json.dumps({"build": build, "fault": fault}))
        if self.is_phone:
            for path in (folder.parent, folder, *folder.iterdir()):
                os.chown(path, SHELL_UID, SHELL_UID)
        return f"{self.tools}/{source.stem}"

    def install_benchmark_app(self, build: str = "current", fault: str | None = None) -> None:
        """Install the stand-in for the benchmark app; see guest/benchmark_app.py.

        Args:
            fault: None, segv, hang, dies or wrong.
        """
        folder = self.root / "data/app/org.tensorflow.lite.benchmark"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HERE / "guest/benchmark_app.py", folder / "base.apk")
        (folder / "plays.json").write_text(json.dumps({"build": build, "fault": fault}))

    def take_tools(self) -> None:
        """A device without any tool."""
        shutil.rmtree(self.root / self.tools.lstrip("/"), ignore_errors=True)

    # --- faults

    def link_down(self) -> None:
        """Pull the cable: packets vanish, and nobody is told."""
        self.link.down()

    def link_up(self) -> None:
        self.link.up()

    def netem(self, delay_ms: float = 0.0, loss_percent: float = 0.0) -> None:
        """A slow and lossy link: delay and loss in each direction, so a round trip takes twice the delay."""
        self.link.impair(delay_ms, loss_percent)

    def clear_netem(self) -> None:
        self.link.up()

    def small_buffers(self, size_bytes: int = 8192) -> None:
        """A device that takes in little at a time, so that a sender's buffer fills; adbd starts anew."""
        setting = f"4096 {size_bytes} {size_bytes}"
        self.shell(["sh", "-c", f"echo {setting} > /proc/sys/net/ipv4/tcp_rmem"]).check_returncode()
        self.kill_adbd()
        time.sleep(0.1)
        self.wait_for_adbd()

    def kill_adbd(self) -> None:
        """Its init starts it again, as Android's does."""
        os.kill(self._adbd_pid(), signal.SIGKILL)

    def _adbd_pid(self) -> int:
        children = Path(f"/proc/{self._init_pid}/task/{self._init_pid}/children").read_text().split()
        for pid in map(int, children):
            if Path(f"/proc/{pid}/cmdline").read_text().endswith("adbd\0"):
                return pid
        raise RigUnavailable("adbd of the rig does not run")

    def reboot(self, down_s: float = 0.5) -> None:
        """Lose power: every process and /tmp are gone, the disk stays; back after `down_s` seconds and a boot."""
        self.link.down()
        self._halt()
        time.sleep(down_s)
        self._boot()

    def fill_storage(self, leave_bytes: int = 65536) -> None:
        """Another's file takes all of the disk but a little."""
        file = self.root / self.storage.lstrip("/") / FILL
        taken = 0
        with open(file, "wb") as opened:
            while (free_bytes := shutil.disk_usage(file.parent).free) > leave_bytes:
                # It takes all or nothing, and somebody may have written meanwhile.
                with contextlib.suppress(OSError):
                    os.posix_fallocate(opened.fileno(), taken, free_bytes - leave_bytes)
                    taken += free_bytes - leave_bytes

    def free_storage(self) -> None:
        (self.root / self.storage.lstrip("/") / FILL).unlink(missing_ok=True)


def personality_layers(name: str) -> list[Path]:
    """Folders that are copied over the base, in this order: what a personality builds on, then itself."""
    known = sorted(folder.name for folder in PERSONALITIES.iterdir())
    if name not in known:
        raise ValueError(f"personality {name!r}: known are {', '.join(known)}")
    return [PERSONALITIES / "board"] if name == "board" else [PERSONALITIES / "phone", PERSONALITIES / name]


def stop(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(STOP_S)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()


def check_rig() -> None:
    """Can this machine have devices?

    Raises:
        RigUnavailable: no; the text says in one line what is missing.
    """
    if os.geteuid() != 0:
        raise RigUnavailable("needs root and debootstrap for the rig (tests/rig)")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise RigUnavailable(f"needs {', '.join(missing)} for the rig (tests/rig)")
    run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], timeout_s=20)
    base_root()[1].close()
