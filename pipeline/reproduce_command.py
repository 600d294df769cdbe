"""`pocketprune reproduce`: a published table, run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.options import Json
from pipeline.reproduce.scale import Scale

app = typer.Typer()

FAILED = 1


@app.command()
def reproduce(
    table: Annotated[str, typer.Argument(help="Table (`pocketprune list tables`).", metavar="TABLE")],
    scale: Annotated[Scale, typer.Option(help="Settings: a minute, two cores, or the paper's own.")] = Scale.small,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0.", min=1)] = 3,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="KEY=VALUE", help="Run these cells alone; may be repeated.")
    ] = None,
    table_only: Annotated[bool, typer.Option("--table-only", help="Run nothing; show what is there.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("docs/results/reproduce"),
    work: Annotated[Path, typer.Option(help="Folder of what cells share.")] = Path("runs/reproduce"),
    json_file: Json = None,
) -> None:
    """Run a published table again, and show the paper's figures beside ours."""
    from pipeline import progress
    from pipeline.reproduce.render import as_json, print_summary
    from pipeline.reproduce.runner import Request, run_table
    from pipeline.run_folder import write_json, writing

    request = Request(table, scale, seeds, tuple(only or ()), out, work, table_only)
    with progress.for_stderr() as shown:
        summary, failures = run_table(request, shown)
    print_summary(summary)
    print(f"written: {out / f'{table}-{scale}.md'}")
    if json_file:
        with writing(json_file):
            write_json(json_file, as_json(summary))
    if failures:
        raise typer.Exit(FAILED)
