"""CIFAR-10: 60,000 photographs of 32 x 32 pixels in ten classes, read from the official files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.data import cifar
from pipeline.data.splits import DataSet
from pipeline.section import Section

LAYOUT = cifar.Layout(
    name="cifar10",
    archive_stem="cifar-10",
    binary_folder="cifar-10-batches-bin",
    python_folder="cifar-10-batches-py",
    train_files=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test_file="test_batch",
    label_bytes=1,
    labels_key=b"labels",
    names_file="batches.meta",
    names_key=b"label_names",
    binary_names_file="batches.meta.txt",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)


class Options(Section):
    validation: Annotated[int, Field(ge=1)] = 5000
    """Images carved out of the 50,000 training images."""


def load(image_size: int, seed: int, root: str | None, options: Options) -> DataSet:
    return cifar.load(LAYOUT, image_size, seed, root, options.validation)
