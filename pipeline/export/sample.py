"""A small network as model files, for trying a device with: real convolutions, nothing learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

import models
from pipeline.config import DataSection, ExportSection
from pipeline.data import load_data
from pipeline.export.variant import export_variant
from pipeline.training import recalibrate_batchnorm

IMAGE_SIZE = 64


def export_sample(folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the sample in each format (`tflite`: fp32 and int8; `coreml`: fp16), with golden inputs in the sidecars.

    Raises:
        ExportError: a conversion failed.
    """
    data = load_data(DataSection(name="digits", image_size=IMAGE_SIZE), seed=0)
    torch.manual_seed(0)
    network = models.load("mobilenet_v2", num_classes=len(data.classes), options={"width": 0.5})
    # With fresh statistics a deep network's outputs vanish, and every file agrees with every other.
    recalibrate_batchnorm(network, (images for images, _ in data.train.batches(64, limit=256)))
    settings = ExportSection(
        tflite=("fp32", "int8") if "tflite" in formats else ("fp32",), coreml=("fp16",) if "coreml" in formats else ()
    )
    artifacts = export_variant(network, variant="sample", data=data, settings=settings, folder=folder)
    return [folder / Path(artifact.path).name for artifact in artifacts if artifact.format in formats]
