"""Files on a device: every one that is sent is verified there, and none is sent twice.

A file is written beside its place, verified by SHA-256 on the device, and renamed, so that half a file never has the
final name. Where the device has no tool for SHA-256 (Android 7 and older) its size is all that can be compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from pathlib import Path

from device_bench.adb.caller import Caller, StorageFullError
from device_bench.adb.link import MAX_OUTPUT_BYTES
from device_bench.errors import DeviceBenchError, DeviceUnavailableError, TransientDeviceError, UsageError
from device_bench.records import Record

CACHE_BYTES = 512 * 2**20
SPARE_BYTES = 2**20
"""What stays free on the device besides a file: a run has some small files of its own."""
SLOWEST_BYTES_PER_S = 100_000
HASH_BYTES_PER_S = 10_000_000

# Both print `HASH  -` or a size; $tool and $1 are given
_DIGEST = r"""
digest() {
  if [ "$tool" ]; then set -- $($tool <"$1"); else set -- $(wc -c <"$1"); fi
  echo "$1"
}
"""

# $1 file, $2 its mode, $3 tool, $4 base folder
_LOOK = (
    _DIGEST
    + r"""
tool=$3
if [ -f "$1" ]; then
  touch -c "$1"
  chmod "$2" "$1"
  echo "has $(digest "$1")"
else
  echo none
fi
df -kP "$4" | tail -n 1
cd "$4/cache" && stat -c '%Y %s %n' * 2>/dev/null
exit 0
"""
)

# $1 what arrived, $2 its place, $3 mode, $4 tool, $5 the expected digest
_ACCEPT = (
    _DIGEST
    + r"""
tool=$4
if [ -d "$2" ]; then rm -f "$1"; echo folder; exit 0; fi
got=$(digest "$1")
if [ "$got" != "$5" ]; then rm -f "$1"; echo "damaged $got"; exit 0; fi
mkdir -p "${2%/*}/" && chmod "$3" "$1" && mv -f "$1" "$2" && echo ok
"""
)
_REMOVE = r'cd "$1/cache" && shift && rm -f -- "$@"'
_FREE = 'df -kP "$1" | tail -n 1'
_STAT = r"""[ -e "$1" ] || exit 0; stat -L -c '%f %s %Y' -- "$1" """


class FileStat(Record):
    mode: int
    """Type and permissions, as in `st_mode`."""
    size_bytes: int
    modified_s: int
    """Seconds since 1970, by the device's clock."""


class Home(Record):
    """Where our files lie on a device, and what it has to verify them with."""

    base: str
    sha256_tool: str
    """A command that hashes its stdin; "" where there is none."""


class Files:
    def __init__(self, caller: Caller, home: Home) -> None:
        self._caller = caller
        self._home = home
        self.incoming = f"{home.base}/incoming/{secrets.token_hex(8)}"
        """What the paths of files on their way start with; another client's start with something else."""
        self._used: set[str] = set()
        """Names in the cache that this connection has used, and may use again."""

    def push(self, source: Path | bytes, target: str, mode: int = 0o644) -> bool:
        """Make a file of the device hold this content; False: it did already.

        Raises:
            UsageError: the source cannot be read, or the target is a folder or no absolute path.
            StorageFullError: it does not fit, also not after the cache was cleared.
            TransientDeviceError: the link broke, or the file was damaged on its way, twice.
        """
        digest, n_bytes = self._expected(source)
        held, free_bytes, cache = self._look(_absolute(target), mode, n_bytes)
        # A size alone says nothing about a file that anybody may have written.
        in_cache = target.startswith(f"{self._home.base}/cache/")
        if held == digest and (self._home.sha256_tool or in_cache):
            return False
        self._make_room(n_bytes, free_bytes, cache)
        self.send(source, target, mode)
        return True

    def cached(self, source: Path | bytes, suffix: str = "", mode: int = 0o644) -> str:
        """Push into the cache, under the name of its content; return the path on the device."""
        if not re.fullmatch(r"[A-Za-z0-9._-]*", suffix):
            raise UsageError(f"suffix {suffix!r}: it is made of letters, digits, '.', '_' and '-'")
        sha256, _ = _sha256(source)
        name = sha256 + suffix
        self._used.add(name)
        target = f"{self._home.base}/cache/{name}"
        self.push(source, target, mode)
        return target

    def send(self, source: Path | bytes, target: str, mode: int) -> None:
        """Push without asking what the device holds already; see `push`."""
        digest, n_bytes = self._expected(source)
        for last in (False, True):
            arrived = f"{self.incoming}-{secrets.token_hex(8)}"
            try:
                self._caller.link.push(source, arrived, 0o600, 60 + n_bytes / SLOWEST_BYTES_PER_S)
                arguments = arrived, _absolute(target), f"{mode:o}", self._home.sha256_tool, digest
                answer = self._caller.script(_ACCEPT, *arguments, timeout_s=_hash_s(n_bytes)).strip()
            except BaseException as error:
                with contextlib.suppress(DeviceBenchError):
                    self._caller.run(["rm", "-f", arrived])
                if isinstance(error, DeviceUnavailableError):
                    full = self.storage_full(n_bytes) if not isinstance(error, TransientDeviceError) else None
                    raise full or error from error
                raise
            if answer == "ok":
                return
            if answer == "folder":
                raise UsageError(f"{target}: a folder of the device; name a file in it")
            if last:
                raise TransientDeviceError(
                    f"{self._caller.link.description}: {target} arrived damaged twice ({answer[:100]}, sent {digest})"
                )

    def clear_cache(self) -> None:
        """Remove from the cache what this connection has not used."""
        listing = self._caller.script("cd \"$1/cache\" && stat -c '%Y %s %n' * 2>/dev/null; exit 0", self._home.base)
        self._remove([name for _, _, name in _cache(listing) if name not in self._used])

    def pull(self, path: str, timeout_s: float = 60.0, limit_bytes: int = MAX_OUTPUT_BYTES) -> bytes:
        """What a file of the device holds.

        Raises:
            DeviceUnavailableError: it cannot be read.
            RunnerError: it is larger than the limit, or takes longer.
        """
        finished = self._caller.call(["cat", "--", _absolute(path)], timeout_s, limit_bytes)
        if finished.exit_code != 0:
            reason = finished.stderr.decode("utf-8", "replace").strip()[-400:]
            raise DeviceUnavailableError(f"{self._caller.link.description}: {path!r} cannot be read: {reason}")
        return finished.stdout

    def sha256(self, path: str) -> str:
        """Hash of a file of the device, which is fetched where the device has no tool for it; errors as for `pull`."""
        if not self._home.sha256_tool:
            return hashlib.sha256(self.pull(path)).hexdigest()
        found = self._caller.script(_DIGEST + 'tool=$1; digest "$2"', self._home.sha256_tool, _absolute(path)).strip()
        if not re.fullmatch("[0-9a-f]{64}", found):
            raise DeviceUnavailableError(f"{self._caller.link.description}: {path!r} cannot be hashed: {found[:100]}")
        return found

    def stat(self, path: str) -> FileStat | None:
        """What is at a path, symbolic links followed; None: nothing that may be seen."""
        text = self._caller.script(_STAT, _absolute(path)).strip()
        match = re.fullmatch(r"([0-9a-f]+) ([0-9]+) (-?[0-9]+)", text)
        if match is None:
            return None
        return FileStat(mode=int(match[1], 16), size_bytes=int(match[2]), modified_s=int(match[3]))

    def storage_full(self, n_bytes: int = 0) -> StorageFullError | None:
        """An error that says how much is free, where less is than is needed; None: there is enough."""
        free_bytes = _free_bytes(self._caller.script(_FREE, self._home.base))
        if free_bytes is None or free_bytes >= n_bytes + SPARE_BYTES // 4:
            return None
        return self._full(n_bytes, free_bytes)

    def _look(self, target: str, mode: int, n_bytes: int) -> tuple[str, int | None, list[tuple[int, int, str]]]:
        """Digest of what the device holds there ("": nothing), free bytes, and the cache's files."""
        arguments = target, f"{mode:o}", self._home.sha256_tool, self._home.base
        lines = self._caller.script(_LOOK, *arguments, timeout_s=_hash_s(n_bytes)).splitlines()
        held = lines[0].removeprefix("has ") if lines and lines[0].startswith("has ") else ""
        return held, _free_bytes(lines[1] if len(lines) > 1 else ""), _cache("\n".join(lines[2:]))

    def _make_room(self, n_bytes: int, free_bytes: int | None, cache: list[tuple[int, int, str]]) -> None:
        """Remove from the cache, oldest use first, what is too much for its bound or, all of it, for the device."""
        unused = [entry for entry in cache if entry[2] not in self._used]
        too_much = sum(size for _, size, _ in cache) + n_bytes - CACHE_BYTES
        full = free_bytes is not None and free_bytes < n_bytes + SPARE_BYTES
        removed: list[str] = []
        freed = 0
        for _, size, name in sorted(unused):
            if not full and freed >= too_much:
                break
            removed.append(name)
            freed += size
        self._remove(removed)
        if full and free_bytes is not None:
            free_bytes = _free_bytes(self._caller.script(_FREE, self._home.base))
            if free_bytes is not None and free_bytes < n_bytes + SPARE_BYTES:
                raise self._full(n_bytes, free_bytes)

    def _remove(self, names: list[str]) -> None:
        for i in range(0, len(names), 200):  # a command line holds that many
            self._caller.script(_REMOVE, self._home.base, *names[i : i + 200])

    def _expected(self, source: Path | bytes) -> tuple[str, int]:
        """What the device's tool will say of it, and its size."""
        sha256, n_bytes = _sha256(source)
        return (sha256 if self._home.sha256_tool else str(n_bytes)), n_bytes

    def _full(self, n_bytes: int, free_bytes: int) -> StorageFullError:
        return StorageFullError(
            f"{self._caller.link.description}: the device's storage is full: {free_bytes / 2**20:.1f} MB free at "
            f"{self._home.base}, {(n_bytes + SPARE_BYTES) / 2**20:.1f} MB needed; delete something there"
        )


def _sha256(source: Path | bytes) -> tuple[str, int]:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest(), len(source)
    try:
        with open(source, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest, file.tell()
    except OSError as error:
        raise UsageError(f"{source}: cannot be read: {error.strerror}") from error


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise UsageError(f"{path!r}: a path on a device is absolute; start it with /")
    return path


def _free_bytes(line: str) -> int | None:
    """From the last line of `df -kP`; None where it is something else."""
    match = re.search(r"\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%", line)
    return int(match[3]) * 1024 if match else None


def _cache(text: str) -> list[tuple[int, int, str]]:
    """(last use in s, size in bytes, name) of each file; what is not ours is left alone."""
    found = re.findall(r"^(\d+) (\d+) ([0-9a-f]{64}[A-Za-z0-9._-]*)$", text, re.MULTILINE)
    return [(int(used), int(size), name) for used, size, name in found]


def _hash_s(n_bytes: int) -> float:
    return 20 + n_bytes / HASH_BYTES_PER_S
