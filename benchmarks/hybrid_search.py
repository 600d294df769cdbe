"""Does a search by the hybrid latency source end where one that measures every step does, in a third of its time?"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import _seeds
from device_bench.stats import difference_ci

CONFIG = Path(__file__).with_suffix(".yaml")
SOURCES = ("measured", "hybrid")
MAX_TIME = 1 / 3


def search_s(folder: Path) -> float:
    """Wall time of the two stages that differ: profile and search."""
    notes = [json.loads((folder / stage / "done.json").read_text()) for stage in ("profile", "search")]
    return sum(float(note["seconds"]) for note in notes)


def share_baselines(done: Path, runs: Path) -> None:
    """The dense networks that the first source's runs trained are the second one's too."""
    for baseline in done.glob("*/baseline"):
        target = runs / baseline.parent.name / "baseline"
        if not target.exists():
            shutil.copytree(baseline, target)


def main(argv: list[str]) -> int:
    options = _seeds.arguments(__doc__ or "", argv)
    chosen, runs = list(options.set), options.runs
    results: dict[str, list[_seeds.SeedResult]] = {}
    seconds: dict[str, list[float]] = {}
    for source in SOURCES:
        options.set, options.runs = [*chosen, f"search.latency_source={source}"], runs / f"by-{source}"
        share_baselines(runs / f"by-{SOURCES[0]}", options.runs)
        results[source] = _seeds.run_seeds(CONFIG, options)
        folders = [options.runs / f"{CONFIG.stem}-seed-{result.seed}" for result in results[source]]
        seconds[source] = [search_s(folder) for folder in folders]
        print(f"{source}: profile and search took {', '.join(f'{value:.0f} s' for value in seconds[source])}")
        _seeds.print_table(results[source])
    share = mean(seconds["hybrid"]) / mean(seconds["measured"])
    print(f"time of hybrid over measured: {share:.2f} (goal: at most {MAX_TIME:.2f})")
    values: dict[str, dict[str, Any]] = {}
    for what, unit in (("latency", 1.0), ("top-1", 100.0)):
        sides = {source: [unit * _figure(result, what) for result in results[source]] for source in SOURCES}
        difference = mean(sides["hybrid"]) - mean(sides["measured"])
        low, high = difference_ci(sides["hybrid"], sides["measured"])
        values[what] = {**sides, "difference": difference, "ci95": (low, high)}
        print(f"{what}, hybrid less measured: {difference:+.3f} ({low:+.3f} to {high:+.3f}; goal: 0 inside)")
    _seeds.write_json(options.json, {"seconds": seconds, "time_share": share, **values})
    same = all(value["ci95"][0] <= 0 <= value["ci95"][1] for value in values.values())
    return 0 if same and share <= MAX_TIME else 1


def _figure(result: _seeds.SeedResult, what: str) -> float:
    """Of the pruned network: latency over dense, or top-1 on the test images."""
    return result.ratios["pruned"] if what == "latency" else float(result.answers["pruned"].mean())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
