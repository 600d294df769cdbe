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
    rates = []
    for round_ in range(arguments.rounds + 1):
        start = time.perf_counter()
        draw_images("train", arguments.images, arguments.image_size, seed=round_, level=0.5)
        rates.append(arguments.images / (time.perf_counter() - start))
    rates = rates[1:]
    print(
        f"{statistics.median(rates):.0f} images/s at {arguments.image_size} px on one thread "
        f"(median of {len(rates)} rounds of {arguments.images}; {min(rates):.0f} to {max(rates):.0f})"
    )


if __name__ == "__main__":
    main()
