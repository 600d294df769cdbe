"""The networks: one file each, its name is the registry name.

`models.names()` lists them, `models.load(name, num_classes=...)` builds one, or one of the user's own. A file defines

    build(num_classes: int, *, ...options) -> nn.Module    gives logits (N, num_classes) for images (N, 3, H, W)
    MIN_IMAGE_SIZE: int                                    the smallest image that it takes
    IMAGENET                                               torchvision's weights for it, or None
"""

from models.registry import load, names

__all__ = ["load", "names"]
