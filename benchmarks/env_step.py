"""What the environment itself costs in a step (masking, features, agent), from the log of a search."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

LIMIT = 0.10


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/demo"), help="run folder (default runs/demo)")
    log = parser.parse_args(argv).run / "search" / "episodes.jsonl"
    if not log.exists():
        print(f"{log}: not there; run `make demo` first", file=sys.stderr)
        return 2
    episodes = [json.loads(line) for line in log.read_text().splitlines()]
    steps = sum(len(episode["steps"]) for episode in episodes)
    seconds = {part: sum(episode["seconds"][part] for episode in episodes) for part in episodes[0]["seconds"]}
    total = sum(seconds.values())
    for part, value in seconds.items():
        print(f"{part:<12}{1000 * value / steps:8.2f} ms a step {value / total:8.1%}")
    print(f"own share {seconds['own'] / total:.1%} of {1000 * total / steps:.1f} ms (goal: under {LIMIT:.0%})")
    return 0 if seconds["own"] / total < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
