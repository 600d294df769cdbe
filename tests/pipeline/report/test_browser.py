"""The page as a browser shows it: headless Chromium, cut off from every network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.report import compare_report, write_report
from tests.pipeline.report.sample_run import SampleRun

REQUIRED = "POCKETPRUNE_REQUIRE_CHROMIUM"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=2000",
    "--dump-dom",
)


class Browser:
    """Opens pages in a profile of its own and returns what they became and what they complained of."""

    def __init__(self, binary: str, profile: Path) -> None:
        self.binary, self.profile = binary, profile

    def open(self, page: Path) -> tuple[str, list[str]]:
        """The document after its scripts ran, and the console's lines.

        The page's own Content-Security-Policy forbids every address, and a broken rule is a line on the console: a
        clean console is a page that asked for nothing.
        """
        command = [self.binary, *FLAGS, f"--user-data-dir={self.profile}", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


class Cells(HTMLParser):
    """The summary table of a document: one dictionary of column to (text, data-value) for each row."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.rows: list[dict[str, tuple[str, str | None]]] = []
        self.inside, self.column, self.takes = False, "", False
        self.charts = 0
        self.feed(document)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.charts += "js-plotly-plot" in (given.get("class") or "")
        if tag == "table":
            self.inside = given.get("id") == "summary"
        elif self.inside and tag == "tr":
            self.rows.append({})
        elif self.inside and tag == "td":
            self.column = given["data-column"] or ""
            self.rows[-1][self.column] = ("", given.get("data-value"))
        elif self.inside and tag == "span":
            self.takes = given.get("class") == "text"

    def handle_endtag(self, tag: str) -> None:
        if tag == "span":
            self.takes = False

    def handle_data(self, data: str) -> None:
        if self.inside and self.takes:
            text, value = self.rows[-1][self.column]
            self.rows[-1][self.column] = (text + data, value)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        reason = "no chromium on PATH; install Debian's package `chromium` to open the report in it"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{reason} ({REQUIRED}=1 says it must be there)")
        pytest.skip(reason)
    return Browser(binary, tmp_path_factory.mktemp("browser"))


def test_an_error_or_a_request_would_be_seen(browser: Browser, run_dir: Path, tmp_path: Path) -> None:
    page = compare_report([run_dir], tmp_path)
    broken = "<script>missing()</script><img src='http://elsewhere.test/x.png'></main>"
    page.write_text(page.read_text().replace("</main>", broken))
    _, console = browser.open(page)
    assert any("missing is not defined" in line for line in console)
    assert any("http://elsewhere.test/x.png" in line and "Content Security Policy" in line for line in console)


def test_the_table_equals_summary_json(browser: Browser, report_dir: Path) -> None:
    document, console = browser.open(report_dir / "index.html")
    assert console == []
    cells = Cells(document)
    assert cells.charts == 12  # six of them are staircases
    rows = [row for row in cells.rows if row]
    summary = json.loads((report_dir / "summary.json").read_text())
    expected = [(variant, artifact) for variant in summary["variants"] for artifact in variant["artifacts"]]
    assert len(rows) == len(expected) == 12
    for row, (variant, artifact) in zip(rows, expected, strict=True):
        texts = {column: text for column, (text, _) in row.items()}
        values = {column: None if value is None else float(value) for column, (_, value) in row.items()}
        named = (variant["name"], artifact["format"], artifact["precision"])
        assert (texts["variant"], texts["format"], texts["precision"]) == named
        measured = artifact["measurements"][0] if artifact["measurements"] else None
        latency = measured["latency_ms"] if measured else {"median": None, "p95": None}
        assert values["top1"] == artifact["top1"]
        assert values["size_bytes"] == artifact["size_bytes"]
        assert (values["params"], values["macs"]) == (variant["params"], variant["macs"])
        assert (values["latency_median_ms"], values["latency_p95_ms"]) == (latency["median"], latency["p95"])
        assert values["fps"] == (measured["fps"] if measured else None)
        assert values["peak_rss_mb"] == (measured["memory"]["peak_rss_mb"] if measured else None)
        assert values["energy_mj"] is None
        assert texts["device"] == (measured["device"]["kind"] if measured else "\u2014")
        shown = {"top1": 100, "latency_median_ms": 1, "latency_p95_ms": 1, "fps": 1, "size_bytes": 1e-6, "macs": 1e-6}
        for column, scale in shown.items():
            value = values[column]
            if value is None:
                assert texts[column] == "\u2014"
            else:
                assert float(texts[column].replace(",", "")) == pytest.approx(value * scale, rel=6e-3)


def test_a_stopped_run_and_hostile_names_leave_the_console_clean(browser: Browser, tmp_path: Path) -> None:
    hostile = SampleRun(tmp_path / "hostile", device_model="<img src=x onerror=alert(1)></script><script>no()").write()
    stopped = SampleRun(tmp_path / "stopped").write("search")
    pages = [
        write_report(hostile, tmp_path / "a"),
        write_report(stopped, tmp_path / "b"),
        compare_report([hostile, stopped], tmp_path / "c"),
    ]
    for page in pages:
        document, console = browser.open(page)
        assert console == []
        assert "<img" not in document and "</main>" in document
