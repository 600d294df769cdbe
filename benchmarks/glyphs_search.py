"""Glyphs over three seeds: is the searched network more accurate than uniform pruning at the same measured latency?"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import _seeds


def main(argv: list[str]) -> int:
    options = _seeds.arguments(__doc__ or "", argv)
    results = _seeds.run_seeds(Path(__file__).with_name("glyphs_search.yaml"), options)
    _seeds.print_table(results)
    gained = _seeds.difference(results, "pruned", "uniform")
    low, high = gained["ci95"]
    print(
        f"top-1 of pruned over uniform: {100 * gained['difference']:+.2f} points "
        f"({100 * low:+.2f} to {100 * high:+.2f}; goal: above 0) on {gained['n']} answers"
    )
    latency = [(result.ratios["pruned"], result.ratios["uniform"]) for result in results]
    print("latency over dense, pruned and uniform: " + ", ".join(f"{p:.3f} and {u:.3f}" for p, u in latency))
    _seeds.write_json(options.json, {"pruned_over_uniform": gained, "latency_ratios": latency})
    return 0 if gained["difference"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
