"""How many glyph images a second one core draws; the cache is not used."""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ["OMP_NUM_THREADS"] = "1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=64, help="side in pixels (default: 64)")
    parser.add_argument("--images", type=int, default=4000, help="images per round (default: 4000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one to warm up (default: 5)")
    arguments = parser.parse_args()

    import torch

    from pipeline.data.sets.glyphs import draw_images

    torch.set_num_threads(1)
    rates, cpu_rates = [], []
    for round_ in range(arguments.rounds + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
        draw_images("train", arguments.images, arguments.image_size, seed=round_, level=0.5)
        rates.append(arguments.images / (time.perf_counter() - start))
        cpu_rates.append(arguments.images / (time.process_time() - cpu_start))
    print(
        f"{statistics.median(rates[1:]):.0f} images/s at {arguments.image_size} px on one thread "
        f"(median of {arguments.rounds} rounds of {arguments.images}; {min(rates[1:]):.0f} to {max(rates[1:]):.0f}); "
        f"{statistics.median(cpu_rates[1:]):.0f} per second of processor time"
    )


if __name__ == "__main__":
    main()
