import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from device_bench import tools
from device_bench.errors import DeviceUnavailableError, UsageError
from device_bench.tools import Source, catalogue, fetch_tools, tool_for

CONTENT = b"\x7fELF" + bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ABI = "arm64-v8a"


class Server(ThreadingHTTPServer):
    """Serves CONTENT at /tool, and worse elsewhere."""

    daemon_threads = True
    requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.path == "/to-http":
            self.send_response(302)
            self.send_header("Location", "http://example.invalid/tool")
            self.end_headers()
            return
        if self.path == "/to-tool":
            self.send_response(302)
            self.send_header("Location", "/tool")
            self.end_headers()
            return
        if self.path == "/none":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path == "/short":
            self.wfile.write(CONTENT[:1000])
        elif self.path == "/endless":
            for _ in range(2000):
                self.wfile.write(CONTENT)
        else:
            self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETPRUNE_TOOLS", str(tmp_path / "tools"))
    return tmp_path / "tools"


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_source_is_pinned_or_says_what_is_known():
    known = catalogue().tools
    assert {"arm64-v8a", "arm64-v8a-tflite", "armeabi-v7a", "x86_64", "linux-aarch64", "linux-x86_64"} == set(known)
    for source in known.values():
        assert source.url.startswith("https://storage.googleapis.com/")
        assert source.sha256 is None or source.prefix is None


def test_content_that_nobody_pinned_is_not_installed(folder):
    with pytest.raises(UsageError, match=r"only its first digits are published: f3729eaf.*--sha256 arm64-v8a=HEX"):
        fetch_tools([ABI])
    assert not folder.exists()
    assert tool_for(ABI) is None


def test_a_pinned_tool_is_fetched_once(folder, server):
    seen = []
    arguments = {"urls": {ABI: f"{server.url}/to-tool"}, "sha256": {ABI: SHA256.upper()}}
    (fetched,) = fetch_tools([ABI], **arguments, on_progress=lambda *told: seen.append(told))
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.path.stat().st_mode & 0o777 == 0o755
    assert (fetched.locked.pinned_by, fetched.note) == ("user", None)
    assert seen[-1] == (ABI, len(CONTENT), len(CONTENT))
    assert tool_for(ABI) == fetched.path
    assert left(folder) == ["arm64-v8a/benchmark_model", "tools.lock"]
    asked = server.requests
    fetch_tools([ABI], **arguments)
    assert server.requests == asked


def test_a_wrong_hash_leaves_nothing_behind_and_names_both(folder, server):
    wrong = "0" * 64
    with pytest.raises(DeviceUnavailableError) as raised:
        fetch_tools([ABI], urls={ABI: f"{server.url}/tool"}, sha256={ABI: wrong})
    assert SHA256 in str(raised.value) and wrong in str(raised.value)
    assert list(folder.rglob("*")) == []
    assert tool_for(ABI) is None


def test_a_wrong_hash_leaves_the_tool_that_was_there(folder, server):
    urls = {ABI: f"{server.url}/tool"}
    fetch_tools([ABI], urls=urls, sha256={ABI: SHA256})
    with pytest.raises(DeviceUnavailableError):
        fetch_tools([ABI], urls=urls, sha256={ABI: "0" * 64})
    path = tool_for(ABI)
    assert path is not None and path.read_bytes() == CONTENT


def test_the_first_download_is_trusted_on_the_users_word_alone_and_then_remembered(folder, server):
    urls = {ABI: f"{server.url}/tool"}
    with pytest.raises(UsageError, match="trust-first-download"):
        fetch_tools([ABI], urls=urls)
    (fetched,) = fetch_tools([ABI], urls=urls, trust_first_download=True)
    assert fetched.note is not None and SHA256 in fetched.note and "nobody vouches" in fetched.note
    locked = json.loads((folder / "tools.lock").read_text())[ABI]
    assert locked == {"url": urls[ABI], "sha256": SHA256, "pinned_by": "first download"}
    fetched.path.unlink()
    (again,) = fetch_tools([ABI], urls=urls)  # it must be the same now, which needs no word
    assert again.path.read_bytes() == CONTENT


def test_what_changed_since_the_first_download_is_refused(folder, server):
    urls = {ABI: f"{server.url}/tool"}
    (fetched,) = fetch_tools([ABI], urls=urls, trust_first_download=True)
    lock = folder / "tools.lock"
    lock.write_text(lock.read_text().replace(SHA256, "1" * 64))
    with pytest.raises(UsageError, match="not what was fetched"):
        tool_for(ABI)
    with pytest.raises(DeviceUnavailableError, match=r"pinned by the first download \(tools.lock\) is 1111"):
        fetch_tools([ABI], urls=urls, trust_first_download=True)
    assert fetched.path.read_bytes() == CONTENT


@pytest.mark.parametrize(("prefix", "fits"), [(SHA256[:8], True), ("f3729eaf", False)])
def test_published_first_digits_are_checked_and_called_what_they_are(folder, server, monkeypatch, prefix, fits):
    source = Source(url=f"{server.url}/tool", sha256=None, prefix=prefix, bytes=None)
    monkeypatch.setattr(tools, "catalogue", lambda: tools.Catalogue(version="1", tools={ABI: source}))
    if fits:
        (fetched,) = fetch_tools([ABI], trust_first_download=True)
        assert fetched.note is not None and f"first digits are the published ones, {prefix}" in fetched.note
    else:
        with pytest.raises(DeviceUnavailableError, match="the published one starts with f3729eaf"):
            fetch_tools([ABI], trust_first_download=True)
        assert left(folder) == []


def test_a_hash_of_the_projects_needs_no_word(server, monkeypatch):
    source = Source(url=f"{server.url}/tool", sha256=SHA256, prefix=None, bytes=None)
    monkeypatch.setattr(tools, "catalogue", lambda: tools.Catalogue(version="1", tools={ABI: source}))
    (fetched,) = fetch_tools([ABI])
    assert fetched.locked.pinned_by == "project"


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("/none", DeviceUnavailableError, "404"),
        ("/short", DeviceUnavailableError, "broken off"),
        ("/endless", DeviceUnavailableError, "larger than 1 MB"),
        ("/to-http", UsageError, "not an https URL"),
    ],
)
def test_what_a_server_may_do_leaves_nothing_behind(folder, server, monkeypatch, path, error, message):
    monkeypatch.setattr(tools, "MAX_BYTES", 2**20)
    with pytest.raises(error, match=message):
        fetch_tools([ABI], urls={ABI: server.url + path}, trust_first_download=True)
    assert left(folder) == []


def test_a_server_that_is_not_there(folder):
    with pytest.raises(DeviceUnavailableError, match="could not be fetched"):
        fetch_tools([ABI], urls={ABI: "http://127.0.0.1:9/tool"}, trust_first_download=True)
    assert left(folder) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"abis": ["mips"]}, "ABI 'mips': .*known: arm64-v8a"),
        ({"abis": [ABI], "sha256": {ABI: "f3729eaf"}}, "64 hexadecimal digits"),
        ({"abis": [ABI], "urls": {ABI: "http://example.org/tool"}}, "not an https URL"),
        ({"abis": [ABI], "urls": {ABI: "file:///etc/passwd"}}, "not an https URL"),
        ({"abis": [ABI, "mips"], "trust_first_download": True}, "mips"),
    ],
)
def test_mistakes_are_refused_before_anything_is_fetched(folder, arguments, message):
    with pytest.raises(UsageError, match=message):
        fetch_tools(**arguments)
    assert not folder.exists()


def test_a_damaged_lock_is_named(folder):
    folder.mkdir()
    (folder / "tools.lock").write_text("{")
    with pytest.raises(UsageError, match=r"tools.lock: not a readable list"):
        tool_for(ABI)


def test_the_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.delenv("POCKETPRUNE_TOOLS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tools.tools_folder() == tmp_path / "pocketprune" / "tools"
