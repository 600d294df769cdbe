"""The command line: each command calls the flow or one part, and holds no logic of its own.

Those that take model files to devices are in `device_commands.py`.

Results go to stdout, progress to stderr. Exit codes: 0 done, 1 internal error, 2 bad usage or configuration, 3 device
not available, 4 measurement rejected, 5 regression found, 130 interrupted (Ctrl-C or SIGTERM).
"""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.device_commands import app as device_commands
from pipeline.reproduce_command import app as reproduce_command

app = typer.Typer(
    help="Make image models small and fast for phones, and prove it on the phone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED = 130
POLITE_ENDS = (signal.SIGTERM, signal.SIGHUP)


class Registry(StrEnum):
    models = "models"
    data = "data"
    agents = "agents"
    exporters = "exporters"
    devices = "devices"
    tables = "tables"


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; stands anywhere.")] = False,
) -> None:
    """Here for --help alone: `main` takes it off the command line, wherever it stands."""


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="Configuration file (YAML).")],
    run_dir: Annotated[Path | None, typer.Option(help="Run folder; runs/<name> by default.")] = None,
    until: Annotated[str | None, typer.Option(help="Last stage to run.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do every stage again, whatever is there.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a key: search.episodes=20")] = None,
) -> None:
    """Run the pipeline, or go on where it stopped."""
    from pipeline import progress
    from pipeline.config import load_config
    from pipeline.flow import run as run_flow

    loaded = load_config(config, tuple(set_ or ()))
    with progress.for_stderr() as shown:
        folder = run_flow(loaded, run_dir=run_dir, until=until, fresh=fresh, progress=shown)
    page, summary = folder / "report" / "index.html", folder / "report" / "summary.md"
    if until in (None, "report"):
        print(summary.read_text())
        print(f"report: {page}")
    else:
        print(f"run folder: {folder}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN...")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default the run's own report folder.")
    ] = None,
) -> None:
    """Write the report of a finished run again, or one page over several runs."""
    from pipeline.flow import report_again
    from pipeline.report import compare_report, digest
    from pipeline.run_folder import writing

    if len(runs) == 1:
        page = report_again(runs[0], out) / "index.html"
        print(digest(runs[0]))
        print(f"report: {page}")
        return
    target = out or Path("runs") / "report"
    with writing(target):
        print(compare_report(runs, target))


@app.command(name="list")
def list_names(what: Annotated[Registry, typer.Argument(help="Which registry.")]) -> None:
    """List what is known by name: models, data sets, agents, exporters, kinds of device, published tables."""
    for name in _names(what):
        print(name)


def _names(what: Registry) -> tuple[str, ...]:
    """Registries are read by file name, so that listing them loads nothing heavy."""
    if what is Registry.models:
        import models

        return models.names()
    if what is Registry.data:
        from pipeline import data

        return data.names()
    if what is Registry.agents:
        from pipeline.search import agents

        return agents.names()
    if what is Registry.exporters:
        from pipeline import export

        return export.names()
    if what is Registry.tables:
        from pipeline import reproduce

        return reproduce.names()
    from device_bench import devices

    return tuple(devices.known_kinds())


app.add_typer(device_commands)
app.add_typer(reproduce_command)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; an error that somebody can mend is one message and its exit code, never a traceback."""
    given = sys.argv[1:] if arguments is None else arguments
    # A polite end from outside is an interrupt too, so that temporary folders go and other processes end.
    before = {number: signal.getsignal(number) for number in POLITE_ENDS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup's wish
            signal.signal(number, signal.default_int_handler)
    try:
        app([argument for argument in given if argument != "--debug"])
    except SystemExit as end:
        if end.code == INTERRUPTED:
            again = "the same command without --fresh" if "--fresh" in given else "the same command"
            hint = f": what is done is kept; run {again} to go on" if "run" in given[:2] else ""
            print(f"interrupted{hint}", file=sys.stderr)
        raise
    except Exception as error:
        if "--debug" in given:
            raise
        code = getattr(error, "exit_code", None)
        if code is None:
            print(f"internal error: {type(error).__name__}: {error}\nrun with --debug to see where", file=sys.stderr)
            raise SystemExit(1) from None
        print(f"error: {_harmless(str(error))}", file=sys.stderr)
        raise SystemExit(code) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _harmless(text: str) -> str:
    """Without what a terminal would obey: an error may quote a device."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


if __name__ == "__main__":
    main()
