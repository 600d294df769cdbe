"""The note beside an exported file, `<file>.json`: what the file is and what it must compute.

The exporter writes it; a device reads it without knowing where the file came from.
"""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from device_bench.errors import UsageError
from device_bench.records import Record


class TensorData(Record):
    """An array as JSON: little-endian bytes in base64."""

    shape: tuple[int, ...]
    dtype: Literal["float32", "int8", "uint8", "int32"]
    data: str

    @model_validator(mode="after")
    def _data_fills_the_shape(self) -> Self:
        if any(side < 0 for side in self.shape):
            raise ValueError(f"shape {self.shape}: no side may be negative")
        try:
            held = len(base64.b64decode(self.data, validate=True))
        except ValueError as error:
            raise ValueError(f"data is not base64: {error}") from error
        needed = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        if held != needed:
            raise ValueError(f"shape {self.shape} of {self.dtype} needs {needed} bytes, data holds {held}")
        return self

    @classmethod
    def from_array(cls, array: NDArray[Any]) -> TensorData:
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
        data = base64.b64encode(little.tobytes()).decode()
        return cls.model_validate({"shape": array.shape, "dtype": array.dtype.name, "data": data})

    def to_array(self) -> NDArray[Any]:
        flat = np.frombuffer(base64.b64decode(self.data), dtype=np.dtype(self.dtype).newbyteorder("<"))
        return flat.reshape(self.shape).astype(self.dtype)


class Golden(Record):
    """Inputs and the outputs that the file itself gave for them where it was exported."""

    inputs: tuple[TensorData, ...]
    outputs: tuple[TensorData, ...]
    max_rel_error: float
    """Largest absolute difference, over the largest absolute output, that still counts as the right answer."""


class Answers(Record):
    """Which images of a split a file classified right, so that two files can be compared image by image."""

    images: str
    """SHA-256 that stands for the images and their order: files with the same one were asked the same."""
    right: str
    """One bit for each image, from the highest bit of the first byte on, zeros to the end of the last; base64."""

    @classmethod
    def from_array(cls, images: str, right: NDArray[np.bool_]) -> Answers:
        return cls(images=images, right=base64.b64encode(np.packbits(right).tobytes()).decode())

    def to_array(self, n: int) -> NDArray[np.bool_]:
        """One value for each of the n images, in the split's order.

        Raises:
            ValueError: it is not base64, or holds another number of images.
        """
        content = np.frombuffer(base64.b64decode(self.right, validate=True), dtype=np.uint8)
        bits = np.unpackbits(content).astype(np.bool_)
        if len(bits) != 8 * math.ceil(n / 8) or bits[n:].any():
            raise ValueError(f"`right` holds {len(bits)} bits, which is not {n} images filled up with zeros")
        return bits[:n]


class SidecarAccuracy(Record):
    top1: float
    top5: float | None
    n: Annotated[int, Field(ge=1)]
    split: str
    answers: Answers | None = None
    """None where accuracy is no count of right answers (the user's own), or an older version wrote the sidecar."""

    @model_validator(mode="after")
    def _answers_give_the_accuracy(self) -> Self:
        if self.answers is not None:
            share = float(self.answers.to_array(self.n).mean())
            if not math.isclose(share, self.top1, abs_tol=1e-6):
                raise ValueError(f"top1 is {self.top1}, and {share} of the images in `answers` are right")
        return self


class Sidecar(Record):
    sha256: str
    format: str
    precision: str
    accuracy: SidecarAccuracy | None
    preprocessing: dict[str, Any]
    parity: dict[str, Any]
    golden: Golden | None


def sidecar_path(model_path: Path) -> Path:
    return model_path.with_name(model_path.name + ".json")


def read_sidecar(model_path: Path) -> Sidecar | None:
    """The sidecar of a model file, or None where it has none.

    Raises:
        UsageError: there is one, and it is not a sidecar.
    """
    path = sidecar_path(model_path)
    if not path.exists():
        return None
    try:
        return Sidecar.model_validate_json(path.read_text())
    except (ValidationError, OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: not a sidecar ({_fault(error)}); export the model again or remove the file"
        ) from error


def _fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return type(error).__name__
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'file'}: {first['msg']}"
