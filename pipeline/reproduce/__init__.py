"""`pocketprune reproduce TABLE`: the papers' tables, run again here, their figures beside ours.

A table is one file in `tables/`; its name is the file's with `-` for `_`. The file defines

    TABLE: pipeline.reproduce.table.Table[S]

whose fields say all that is special about it (`pipeline/reproduce/table.py` says what each one means):

- `title`, `source` (paper and table), `notes` (departures from the paper; what to keep in mind).
- `scales`: settings of the table's own, a frozen `Section`, under `smoke` (a minute at most alone: what tests run),
  `small` (two cores, data that ships) and `paper` (the paper's own setting).
- `cells(settings, seeds)`: the parts of the table, each a flat mapping of keys, such as `{"row": "dense", "seed": 0}`.
  A cell is what is run, stored and skipped as one: minutes, not hours. The keys are its identity.
- `run(cell, context)`: does one cell and gives its results, plain JSON. A figure that is not known is None, with the
  reason in `missing`: `{"latency_ratio": None, "missing": {"latency_ratio": "..."}}`. What plots need goes in as well,
  since plots are drawn from stored results alone.
- `columns`: which results the printed table shows, each a mean over the cells of a row.
- `paper`: the paper's figures by row and column, in the units of the results (shares of 1, not percent).
- `rows(cell, results)`: which rows of the printed table a cell belongs to, with its figures for each. The default,
  `by_keys("row")`, is one row named by the cell's key `row`; `by_keys("row", "point")` names it by both. A cell may
  fill several rows (before, pruned, retrained), and a row may have cells for different columns (accuracy, latency):
  figures name the columns that the cell fills, none at all means all. `results` is None where the cell has not been
  run: then only the names count.
- `findings(finished)`: what the finished cells say, in sentences that are made from their figures.
- `spread`: `standard deviation` or `standard error`, as the paper gives it.
- `pictures(finished)`: matplotlib figures by name, from the finished cells; None where there are none.
- `depends(cell, settings)`: the part of the settings that the cell's results depend on; all of them by default. Its
  hash is stored with the results: a cell whose settings changed is run again.
- `version`: raised with every change of code that changes results; it is part of that hash.

`run` gets a `Context[S]` (`context.py`):

    context.settings     the settings of the scale                context.progress   tell it what goes on inside a cell
    context.folder       scratch of this cell alone: checkpoints that a killed cell continues from; removed at the end
    context.subject(config)               the trained dense network with its data, groups and scores
    context.shared(name, inputs, build)   anything else that cells share: built once, by one process
    context.finished(cell)                what another cell found, or None: a cell that needs one stands after it

Cells may run in several processes at once. Whatever a cell measures on a device is compared with the dense network of
the same sitting, and it is the ratio that goes into a column: cells are run on different days and machines.

What happens around a table, in the order of the modules: `table.py` (what one is), `store.py` (finished cells as lines
of a file, locks), `context.py`, `summary.py` (means and spreads by row), `render.py` (Markdown, JSON, PNG, terminal),
`runner.py` (the loop over what is left).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.reproduce.table import Table


def names() -> tuple[str, ...]:
    """The tables, found by file name; nothing is imported."""
    files = (Path(__file__).parent / "tables").glob("[a-z]*.py")
    return tuple(sorted(file.stem.replace("_", "-") for file in files))


def find(name: str) -> Table[Any]:
    """The table with this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in names():
        raise ConfigError(f"{name!r}: there is no such table; known: {', '.join(names())}")
    module: Any = importlib.import_module(f"{__name__}.tables.{name.replace('-', '_')}")
    table: Table[Any] = module.TABLE
    return table
