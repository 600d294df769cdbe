"""The command line: each command calls the flow or one part, and holds no logic of its own.

Results go to stdout, progress to stderr. Exit codes: 0 done, 1 internal error, 2 bad usage or configuration, 3 device
not available, 4 measurement rejected, 5 regression found, 130 interrupted (Ctrl-C or SIGTERM).
"""

from __future__ import annotations

import json
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.options import Device, Json, Kind, takes_spec, writable

if TYPE_CHECKING:
    from device_bench.records import BenchSpec

app = typer.Typer(
    help="Make image models small and fast for phones, and prove it on the phone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

UNAVAILABLE = 3
REJECTED = 4
INTERRUPTED = 130
POLITE_ENDS = (signal.SIGTERM, signal.SIGHUP)


class Registry(StrEnum):
    models = "models"
    data = "data"
    agents = "agents"
    exporters = "exporters"
    devices = "devices"


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
@takes_spec()
def bench(
    models: Annotated[
        list[Path], typer.Argument(help="Model files (.tflite, .mlpackage on Apple's).", metavar="MODEL...")
    ],
    spec: BenchSpec,
    device: Device = "host",
    power: Annotated[bool, typer.Option(help="Measure power too, where the device can (minutes on a phone).")] = True,
    minutes: Annotated[
        float | None,
        typer.Option("--sustained", metavar="MINUTES", help="Instead: so long a load of each model, watched."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="With --sustained: draw it into this PNG file.", callback=writable)
    ] = None,
    json_file: Json = None,
) -> None:
    """Measure model files on a device: latency, memory, and power where the device can."""
    import device_bench
    from device_bench.noise import floor_for
    from pipeline import progress
    from pipeline.run_folder import write_json, writing
    from pipeline.terminal import print_device_noise, print_measurements

    if plot is not None and minutes is None:
        raise typer.BadParameter(f"{plot}: --plot draws a sustained load; add --sustained MINUTES, or leave it out")
    if minutes is not None:
        _sustained(models, device, spec, minutes, json_file, plot)
        return
    with progress.for_stderr() as shown:
        measured = device_bench.benchmark_many(
            models, device=device, spec=spec, power=power, observer=progress.DeviceProgress(shown)
        )
    print_measurements(measured)
    print_device_noise(floor_for(measured[0], spec.processes))
    if json_file:
        with writing(json_file):
            write_json(json_file, {"measurements": measured})
    if not all(measurement.valid for measurement in measured):
        raise typer.Exit(REJECTED)


def _sustained(
    models: list[Path], device: str, spec: BenchSpec, minutes: float, json_file: Path | None, plot: Path | None
) -> None:
    """The load of `bench --sustained`; what is done is shown and written, whatever ends it."""
    import device_bench
    from device_bench.endurance import SustainedRun
    from pipeline import progress
    from pipeline.report.endurance import plot_sustained
    from pipeline.run_folder import write_json, writing
    from pipeline.terminal import print_sustained

    done: list[SustainedRun] = []
    try:
        with progress.for_stderr() as shown:
            observer = progress.DeviceProgress(shown)
            device_bench.sustained(models, device, spec, minutes, done.append, observer=observer)
    finally:
        if done:
            print_sustained(done)
            if json_file:
                with writing(json_file):
                    write_json(json_file, {"sustained": done})
            if plot:
                with writing(plot):
                    plot_sustained(done, plot)
    if any(run.rejections for run in done):
        raise typer.Exit(REJECTED)


@app.command()
@takes_spec(precision=1.0)
def compare(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more models, or runs for theirs; the first is the baseline.", metavar="MODEL|RUN..."
        ),
    ],
    spec: BenchSpec,
    device: Device = "host",
    baseline: Annotated[
        str | None, typer.Option(help="Compare with this one, by name or number (from 1), not with the first.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw it into this PNG file.", callback=writable)] = None,
    ops: Annotated[bool, typer.Option("--ops", help="Show which operations' times changed most.")] = False,
    json_file: Json = None,
) -> None:
    """Time models in turns, so that the machine's moods hit all alike, and say which is faster."""
    import device_bench
    from pipeline import progress
    from pipeline.contenders import find_contenders
    from pipeline.run_folder import write_json, writing
    from pipeline.terminal import print_comparisons, print_op_changes

    found = find_contenders(models, baseline)
    with progress.for_stderr() as shown:
        observer = progress.DeviceProgress(shown)
        result = device_bench.compare(found.paths, device=device, spec=spec, ops=ops, observer=observer)
    print_comparisons(result, found.names())
    for reason in found.left_out:
        print(f"left out: {reason}")
    if ops:
        print_op_changes(result, found.names())
    if json_file:
        with writing(json_file):
            write_json(json_file, result)
    if plot:
        from pipeline.report.comparison import plot_comparison

        with writing(plot):
            plot_comparison(result, found.names(), plot)
    if not all(measurement.believed for measurement in result.measurements):
        raise typer.Exit(REJECTED)


@app.command()
@takes_spec()
def noise(
    spec: BenchSpec,
    model: Annotated[
        Path | None, typer.Argument(help="Model file; a small network of ours without it.", metavar="[MODEL]")
    ] = None,
    device: Device = "host",
    comparisons: Annotated[int, typer.Option(help="How often the file is compared with itself.", min=1)] = 4,
    json_file: Json = None,
) -> None:
    """Find out what difference can be seen on a device at all, by comparing a file with itself."""
    from pipeline import progress
    from pipeline.run_folder import write_json, writing
    from pipeline.terminal import print_noise
    from pipeline.trial import find_noise

    with progress.for_stderr() as shown:
        found = find_noise(device, model, spec, comparisons, shown)
    print_noise(found)
    if json_file:
        with writing(json_file):
            write_json(json_file, found)
    if found.rejections:
        raise typer.Exit(REJECTED)


@app.command()
def devices(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the devices that can be reached, and why others cannot."""
    import device_bench
    from pipeline.terminal import print_devices

    listings = device_bench.list_devices()
    if as_json:
        print(json.dumps([listing.model_dump() for listing in listings], indent=2))
    else:
        print_devices(listings)


@app.command()
def selftest(
    device: Device = "host",
    models: Annotated[
        list[Path] | None, typer.Option("--model", help="Try this file (repeat for more) instead of a sample network.")
    ] = None,
    power: Annotated[bool, typer.Option(help="Measure power too; it loads the device for minutes.")] = True,
    out: Annotated[
        Path | None, typer.Option(help="Bundle to write; selftest.zip by default.", callback=writable)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try everything that a device can, and pack what was seen into a bundle to send in."""
    from pipeline import progress
    from pipeline.terminal import print_selftest
    from pipeline.trial import try_device

    bundle = out or Path("selftest.zip")
    with progress.for_stderr() as shown:
        result = try_device(device, models or (), bundle, power=power, progress=shown)
    if as_json:
        print(result.model_dump_json(indent=2))
    else:
        print_selftest(result)
        print(f"bundle: {bundle}")
    if not result.passed:
        raise typer.Exit(UNAVAILABLE)


@app.command(name="fetch-tools")
def fetch_tools(
    abi: Annotated[
        list[str] | None, typer.Option("--abi", help="Build; may be repeated (default: arm64-v8a-tflite).")
    ] = None,
    url: Annotated[list[str] | None, typer.Option("--url", metavar="ABI=URL", help="Another source.")] = None,
    sha256: Annotated[
        list[str] | None, typer.Option("--sha256", metavar="ABI=HEX", help="The hash that you vouch for.")
    ] = None,
    trust_first_download: Annotated[
        bool, typer.Option("--trust-first-download", help="Take a file of unknown hash, and hold it to that later.")
    ] = False,
) -> None:
    """Download the official benchmark_model binaries for phones, verified by hash."""
    from device_bench.tools import fetch_tools as fetch
    from pipeline import progress
    from pipeline.terminal import print_tools

    with progress.for_stderr() as shown:
        fetched = fetch(
            abi or ["arm64-v8a-tflite"],
            urls=_by_abi(url, "--url"),
            sha256=_by_abi(sha256, "--sha256"),
            trust_first_download=trust_first_download,
            on_progress=lambda name, done, total: shown.update(f"{name} (kB)", done // 1000, total and total // 1000),
        )
    print_tools(fetched)


def _by_abi(pairs: list[str] | None, option: str) -> dict[str, str]:
    wrong = [pair for pair in pairs or () if not all(pair.partition("="))]
    if wrong:
        raise typer.BadParameter(f"{option} {wrong[0]!r}: write ABI=VALUE, such as arm64-v8a=...")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs or ())}


@app.command(name="import-log")
def import_log(
    log: Annotated[Path, typer.Argument(help="Saved output of benchmark_model, or its result file.", metavar="FILE")],
    run: Annotated[int | None, typer.Option(help="Which measurement, where the file holds several.", min=1)] = None,
    model: Annotated[Path | None, typer.Option(help="The model file that was measured.")] = None,
    device: Annotated[str | None, typer.Option(help="What the device is called.")] = None,
    kind: Annotated[Kind, typer.Option(help="Kind of the device.")] = Kind.unknown,
    as_json: Annotated[bool, typer.Option("--json", help="Print the Measurement as JSON.")] = False,
) -> None:
    """Read a saved log of benchmark_model, of 2018 or later, into a Measurement."""
    from device_bench.import_log import import_log as read_log
    from pipeline.terminal import print_measurements, print_ops

    measured = read_log(log, run=run, model=model, device=device, kind=kind.value)
    if as_json:
        print(measured.model_dump_json(indent=2))
        return
    print_measurements([measured])
    print_ops(measured)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN...")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default the run's own report folder.")
    ] = None,
) -> None:
    """Write the report of a finished run again, or one page over several runs."""
    from pipeline.flow import report_again
    from pipeline.report import compare_report
    from pipeline.run_folder import writing

    if len(runs) == 1:
        print(report_again(runs[0], out) / "index.html")
        return
    target = out or Path("runs") / "report"
    with writing(target):
        print(compare_report(runs, target))


@app.command(name="list")
def list_names(what: Annotated[Registry, typer.Argument(help="Which registry.")]) -> None:
    """List what is known by name: models, data sets, agents, exporters, kinds of device."""
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
    from device_bench import devices

    return tuple(devices.known_kinds())


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
