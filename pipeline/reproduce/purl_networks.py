"""The networks of PuRL's tables and the explainable poster's: equal settings, so that tables share the training."""

from __future__ import annotations

from typing import Any

from pipeline.config import BaselineSection, DataSection, ModelSection
from pipeline.reproduce.network import NetworkSettings

IMAGENET = DataSection(name="imagefolder", image_size=224, root="data/imagenet")


def glyphs(level: float, train: int = 12_000) -> DataSection:
    """62 classes at 32 pixels."""
    return DataSection(
        name="glyphs", image_size=32, options={"level": level, "train": train, "validation": 1_000, "test": 4_000}
    )


def _small(name: str, data: DataSection, epochs: int, **options: Any) -> NetworkSettings:
    return NetworkSettings(
        model=ModelSection(name=name, options=options),
        data=data,
        baseline=BaselineSection(epochs=epochs, batch_size=64, learning_rate=0.1),
    )


def _pretrained(name: str) -> NetworkSettings:
    return NetworkSettings(model=ModelSection(name=name, weights="imagenet"), data=IMAGENET, baseline=BaselineSection())


def _trained(name: str, data: str, **options: Any) -> NetworkSettings:
    """At 32 pixels, by the usual recipe for CIFAR (Zagoruyko and Komodakis 2016, section 3; its cosine is ours)."""
    return NetworkSettings(
        model=ModelSection(name=name, options=options),
        data=DataSection(name=data, image_size=32, root=f"data/{data}"),
        baseline=BaselineSection(epochs=200, batch_size=128, learning_rate=0.1, weight_decay=5e-4),
    )


SMOKE = NetworkSettings(
    model=ModelSection(name="mobilenet_v1", options={"width": 0.125}),
    data=DataSection(name="digits", image_size=32),
    baseline=BaselineSection(epochs=2, learning_rate=0.1),
)
RESNET50_EASY = _small("resnet50", glyphs(0.3), 30, width=0.25)
RESNET50_SMALL = _small("resnet50", glyphs(0.5), 30, width=0.25)
WIDE_RESNET28_SMALL = _small("wide_resnet28", glyphs(0.5, train=8_000), 10, width=2)
MOBILENET_V1_SMALL = _small("mobilenet_v1", glyphs(0.5), 12, width=0.5)
MOBILENET_V2_SMALL = _small("mobilenet_v2", glyphs(0.5), 14)
EFFICIENTNET_B2_SMALL = _small("efficientnet_b2", glyphs(0.5), 14, width=0.25, dropout=0.1)

RESNET50_CIFAR10 = _trained("resnet50", "cifar10", small_images=True)
WIDE_RESNET28_PAPER = _trained("wide_resnet28", "cifar100", width=10)
RESNET50_PAPER = _pretrained("resnet50")
MOBILENET_V2_PAPER = _pretrained("mobilenet_v2")
EFFICIENTNET_B2_PAPER = _pretrained("efficientnet_b2")
