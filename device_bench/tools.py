"""Fetches the official `benchmark_model` binaries, pinned by URL and SHA-256, into a folder of the user's.

`tools.yaml` names them. Google publishes no hashes, so most are not pinned there, and what is not pinned is installed
only when the user says so: with a hash of his own, or by trusting the first download, which is then remembered in
`tools.lock` beside the binaries, so that whatever comes later must be the same.

The folder is $POCKETPRUNE_TOOLS, or `pocketprune/tools` in the XDG cache folder:

    <abi>/benchmark_model     executable
    tools.lock                {abi: {url, sha256, pinned_by}}
"""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Annotated, Literal
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from device_bench.errors import DeviceUnavailableError, UsageError
from device_bench.records import Record

MAX_BYTES = 256 * 2**20
CHUNK = 2**16
TIMEOUT_S = 30.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PinnedBy = Literal["project", "user", "first download"]
OnProgress = Callable[[str, int, int | None], None]
"""Called with the ABI, the bytes so far, and how many there will be where the server says."""


class Source(Record):
    """Where a binary comes from and what is known of it; see tools.yaml."""

    url: str
    sha256: Sha256 | None
    prefix: str | None
    bytes: int | None


class Catalogue(Record):
    version: str
    tools: dict[str, Source]


class Locked(Record):
    """What was installed, and on whose word."""

    url: str
    sha256: Sha256
    pinned_by: PinnedBy


class Fetched(Record):
    abi: str
    path: Path
    locked: Locked
    note: str | None = None
    """What the user must know about how far the content is vouched for."""


_LOCK: TypeAdapter[dict[str, Locked]] = TypeAdapter(dict[str, Locked])


def tools_folder() -> Path:
    given = os.environ.get("POCKETPRUNE_TOOLS")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pocketprune" / "tools"


def catalogue() -> Catalogue:
    import yaml  # here, since `pocketprune --help` needs no YAML

    return Catalogue.model_validate(yaml.safe_load((Path(__file__).parent / "tools.yaml").read_text()))


def tool_for(abi: str) -> Path | None:
    """The fetched benchmark_model for an ABI (`arm64-v8a`, `linux-aarch64`), or None.

    Raises:
        UsageError: what lies there is not what was fetched.
    """
    path, locked = tools_folder() / abi / "benchmark_model", _read_lock()
    if abi not in locked or not path.is_file():
        return None
    if _sha256(path) != locked[abi].sha256:
        raise UsageError(f"{path}: is not what was fetched (tools.lock has another SHA-256); fetch the tools again")
    return path


def fetch_tools(
    abis: Sequence[str],
    *,
    urls: Mapping[str, str] | None = None,
    sha256: Mapping[str, str] | None = None,
    trust_first_download: bool = False,
    on_progress: OnProgress | None = None,
) -> list[Fetched]:
    """Fetch binaries, verify them and put them where `tool_for` finds them; a wrong one leaves nothing behind.

    Args:
        abis: keys of tools.yaml.
        urls: other sources than those of tools.yaml, by ABI; such a source is not pinned by this project.
        sha256: hashes that the user vouches for, by ABI; they come before all others.
        trust_first_download: install what no hash is known for, and remember its hash.

    Raises:
        UsageError: an unknown ABI, a malformed hash or URL, or content that nobody has pinned.
        DeviceUnavailableError: the server does not answer, or what came is not what was pinned.
    """
    known, locked = catalogue().tools, _read_lock()
    plans = [_plan(abi, known, locked, urls or {}, sha256 or {}, trust_first_download) for abi in abis]
    return [_fetch(plan, on_progress) for plan in plans]


class Plan(Record):
    """One binary: where it comes from, and the hash that it must have (None: whatever it turns out to have)."""

    abi: str
    url: str
    sha256: Sha256 | None
    pinned_by: PinnedBy
    prefix: str | None


def _plan(
    abi: str,
    known: Mapping[str, Source],
    locked: Mapping[str, Locked],
    urls: Mapping[str, str],
    hashes: Mapping[str, str],
    trust: bool,
) -> Plan:
    if abi not in known:
        raise UsageError(f"ABI {abi!r}: no benchmark_model is known for it; known: {', '.join(known)}")
    source = known[abi]
    url = urls.get(abi, source.url)
    _check_url(url)
    ours = url == source.url
    prefix = source.prefix if ours else None
    if abi in hashes:
        wanted = hashes[abi].lower()
        if len(wanted) != 64 or set(wanted) - set("0123456789abcdef"):
            raise UsageError(f"--sha256 {abi}={hashes[abi]}: not a SHA-256; give its 64 hexadecimal digits")
        return Plan(abi=abi, url=url, sha256=wanted, pinned_by="user", prefix=None)
    if ours and source.sha256 is not None:
        return Plan(abi=abi, url=url, sha256=source.sha256, pinned_by="project", prefix=None)
    if abi in locked and locked[abi].url == url:
        return Plan(abi=abi, url=url, sha256=locked[abi].sha256, pinned_by=locked[abi].pinned_by, prefix=prefix)
    if not trust:
        published = f"; only its first digits are published: {prefix}" if prefix else ""
        raise UsageError(
            f"{abi}: nobody has pinned the content of {url} (no full SHA-256 is published{published}); give the hash "
            f"that you trust with --sha256 {abi}=HEX, or take what comes and remember it with --trust-first-download"
        )
    return Plan(abi=abi, url=url, sha256=None, pinned_by="first download", prefix=prefix)


def _fetch(plan: Plan, on_progress: OnProgress | None) -> Fetched:
    folder = tools_folder()
    target = folder / plan.abi / "benchmark_model"
    if plan.sha256 is not None and target.is_file() and _sha256(target) == plan.sha256:
        return _remember(plan, target, plan.sha256)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _beside(folder) as (file, path):
            got = _download(plan, file, on_progress)
            _verify(plan, got)
            path.chmod(0o755)
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
    except OSError as error:
        if isinstance(error, URLError | ssl.SSLError | TimeoutError | ConnectionError):
            raise DeviceUnavailableError(f"{plan.url}: could not be fetched ({error}); try again later") from error
        raise UsageError(f"{folder}: cannot be written ({error.strerror}); set POCKETPRUNE_TOOLS") from error
    except HTTPException as error:
        raise DeviceUnavailableError(f"{plan.url}: broken off ({error!r}); try again later") from error
    return _remember(plan, target, got)


@contextmanager
def _beside(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A file for a download, gone at the end unless it was renamed."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".download-", delete=False) as file:
        path = Path(file.name)
        try:
            yield file, path
        finally:
            path.unlink(missing_ok=True)


def _download(plan: Plan, file: IO[bytes], on_progress: OnProgress | None) -> str:
    """Write the content into the file and return its SHA-256."""
    digest, done = hashlib.sha256(), 0
    request = urllib.request.Request(plan.url, headers={"User-Agent": "pocketprune"})
    with urllib.request.build_opener(_SafeRedirects).open(request, timeout=TIMEOUT_S) as answer:
        length = answer.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        while chunk := answer.read(CHUNK):
            done += len(chunk)
            if done > MAX_BYTES:
                raise DeviceUnavailableError(f"{plan.url}: larger than {MAX_BYTES // 2**20} MB; no benchmark_model is")
            digest.update(chunk)
            file.write(chunk)
            if on_progress is not None:
                on_progress(plan.abi, done, total)
    file.flush()
    os.fsync(file.fileno())
    if total is not None and done != total:
        raise DeviceUnavailableError(f"{plan.url}: broken off after {done:,} of {total:,} bytes; try again")
    return digest.hexdigest()


def _verify(plan: Plan, got: str) -> None:
    if plan.sha256 is not None and got != plan.sha256:
        raise DeviceUnavailableError(
            f"{plan.url}: its SHA-256 is {got}, the one pinned by the {_whose(plan.pinned_by)} is {plan.sha256}; "
            "nothing was installed: find out which is right before you pin it anew with --sha256"
        )
    if plan.prefix is not None and not got.startswith(plan.prefix):
        raise DeviceUnavailableError(
            f"{plan.url}: its SHA-256 is {got}, the published one starts with {plan.prefix}; nothing was installed"
        )


def _whose(pinned_by: PinnedBy) -> str:
    return "first download (tools.lock)" if pinned_by == "first download" else pinned_by


def _remember(plan: Plan, target: Path, sha256: str) -> Fetched:
    locked = Locked(url=plan.url, sha256=sha256, pinned_by=plan.pinned_by)
    _write_lock({**_read_lock(), plan.abi: locked})
    note = None
    if plan.pinned_by == "first download":
        checked = f"; its first digits are the published ones, {plan.prefix}" if plan.prefix else ""
        note = f"trusted because it was the first download, nobody vouches for it: sha256 {sha256}{checked}"
    return Fetched(abi=plan.abi, path=target, locked=locked, note=note)


def _lock_path() -> Path:
    return tools_folder() / "tools.lock"


def _read_lock() -> dict[str, Locked]:
    try:
        return _LOCK.validate_json(_lock_path().read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"{_lock_path()}: not a readable list of fetched tools; remove it and fetch the tools again"
        ) from error


def _write_lock(locked: dict[str, Locked]) -> None:
    with _beside(tools_folder()) as (file, path):
        file.write(_LOCK.dump_json(locked, indent=1))
        file.flush()
        path.chmod(0o644)
        path.replace(_lock_path())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise UsageError(f"{url}: not an https URL; binaries are fetched over https alone")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never away from https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _check_url(urljoin(req.full_url, newurl))
        return super().redirect_request(req, fp, code, msg, headers, newurl)
