"""Whether the quick judge (one pass in batch statistics) ranks plans as recalibration does, and what each costs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from pipeline.config import load_config
from pipeline.pruning.channels import strongest
from pipeline.search.profile import random_variants
from pipeline.search.recovery import Recovery
from pipeline.search.task import make_judge
from pipeline.search.uniform import round_grid
from pipeline.subject import Subject

IMAGES = 256


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/demo"), help="run folder (default runs/demo)")
    parser.add_argument("--plans", type=int, default=20)
    options = parser.parse_args(argv)
    if not (options.run / "baseline").exists():
        print(f"{options.run}: no trained network there; run `make demo` first", file=sys.stderr)
        return 2
    recover = f"search.recover={{kind: batchnorm, images: {IMAGES}}}"
    config = load_config(options.run / "config.yaml", (recover, f"search.judge_images={IMAGES}"))
    torch.set_num_threads(config.torch_threads or torch.get_num_threads())
    subject = Subject(config, options.run / "baseline" / "model.safetensors")
    judge, recovery = make_judge(subject), Recovery(subject)
    quick, full, quick_s, full_s = [], [], 0.0, 0.0
    grid = round_grid(subject.groups, config.pruning)
    for plan in random_variants(grid, options.plans, config.pruning, seed=0):
        started = time.perf_counter()
        judge.begin()
        for group in subject.groups:
            kept = strongest(subject.scores[group.name], plan[group.name])
            evaluation = judge.prune(np.setdiff1d(np.arange(group.channels), kept))
        walked = time.perf_counter()
        quick.append(evaluation.top1)
        full.append(recovery.evaluate(plan).top1)
        quick_s += (walked - started) / len(subject.groups)
        full_s += time.perf_counter() - walked
    rank = spearmanr(quick, full).statistic
    print(f"rank correlation {rank:.3f} on {options.plans} random plans, top-1 from {min(full):.1%} to {max(full):.1%}")
    print(f"mean difference of top-1 {np.mean(np.subtract(quick, full)):+.1%}")
    print(
        f"quick {1000 * quick_s / options.plans:.0f} ms a step, rebuilt and recalibrated "
        f"{1000 * full_s / options.plans:.0f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
