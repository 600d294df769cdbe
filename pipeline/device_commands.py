"""The commands that take model files to devices: they need no configuration and no run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.options import Device, Json, Kind, takes_spec, writable

if TYPE_CHECKING:
    from device_bench.records import BenchSpec

app = typer.Typer()

UNAVAILABLE = 3
REJECTED = 4


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
    from pipeline.terminal.measurements import print_measurements
    from pipeline.terminal.noise import print_noise_of_models

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
    known = [floor_for(measurement, spec.processes) for measurement in measured]
    print_noise_of_models([Path(measurement.artifact.path).name for measurement in measured], known)
    if json_file:
        with writing(json_file):
            write_json(json_file, {"measurements": measured, "device_noise": known})
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
    from pipeline.terminal.endurance import print_sustained

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
    from pipeline.terminal.measurements import print_comparisons
    from pipeline.terminal.operations import print_op_changes

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
    from pipeline.terminal.noise import print_noise
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
    from pipeline.terminal.devices import print_devices

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
    from pipeline.terminal.devices import print_selftest
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
    from pipeline.terminal.devices import print_tools

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
    from pipeline.terminal.measurements import print_measurements
    from pipeline.terminal.operations import print_ops

    measured = read_log(log, run=run, model=model, device=device, kind=kind.value)
    if as_json:
        print(measured.model_dump_json(indent=2))
        return
    print_measurements([measured])
    print_ops(measured)
