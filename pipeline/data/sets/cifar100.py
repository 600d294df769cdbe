"""CIFAR-100: 60,000 photographs of 32 x 32 pixels in a hundred (fine) classes, read from the official files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.data import cifar
from pipeline.data.splits import DataSet
from pipeline.section import Section

LAYOUT = cifar.Layout(
    name="cifar100",
    archive_stem="cifar-100",
    binary_folder="cifar-100-binary",
    python_folder="cifar-100-python",
    train_files=("train",),
    test_file="test",
    label_bytes=2,
    labels_key=b"fine_labels",
    names_file="meta",
    names_key=b"fine_label_names",
    binary_names_file="fine_label_names.txt",
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)


class Options(Section):
    validation: Annotated[int, Field(ge=1)] = 5000
    """Images carved out of the 50,000 training images."""


def load(image_size: int, seed: int, root: str | None, options: Options) -> DataSet:
    return cifar.load(LAYOUT, image_size, seed, root, options.validation)
