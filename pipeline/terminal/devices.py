"""Devices, what a self-test saw on them, and the tools for them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from device_bench.devices import DeviceListing
from device_bench.selftest import SelfTest
from device_bench.tools import Fetched
from pipeline.terminal.tables import new_table, show


def print_devices(listings: Sequence[DeviceListing]) -> None:
    """What can be used as a table; below it what cannot, with the reason."""
    columns = (("kind", "left"), ("model, system", "left"), ("battery", "right"), ("C", "right"), ("runner", "left"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("device", no_wrap=True, overflow="ignore")  # people copy it
    for heading, justify in columns:
        table.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    for listing in listings:
        if listing.info is not None:
            info, battery = listing.info, listing.battery_percent
            table.add_row(
                listing.spec,
                info.kind,
                f"{info.model}, {info.os}, {info.abi}",
                "-" if battery is None else f"{battery}%",
                "-" if listing.temperature_c is None else f"{listing.temperature_c:.0f}",
                listing.runner or "none",
            )
    show(table)
    for listing in listings:
        if listing.info is None:
            print(f"unreachable: {listing.spec}: {listing.reason}")


def print_selftest(result: SelfTest) -> None:
    info = result.device
    print(f"{result.device_spec}: {info.model}, {info.os}, {info.abi} ({info.kind})")
    table = new_table(("trial", "left"), ("outcome", "left"), ("what was seen", "left"))
    for trial in result.trials:
        table.add_row(trial.name, trial.outcome, trial.detail)
    show(table)


def print_tools(fetched: Sequence[Fetched]) -> None:
    for tool in fetched:
        print(f"{tool.abi}: {tool.path}\n  sha256 {tool.locked.sha256}, pinned by the {tool.locked.pinned_by}")
        if tool.note:
            print(f"  {tool.note}")
