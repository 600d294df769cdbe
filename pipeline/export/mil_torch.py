"""Evaluates a saved ML Program in torch: how a Core ML file is checked where Core ML cannot predict.

Operations are read as Apple's MIL reference defines them (coremltools, `converters/mil/mil/ops/defs`). Each computes in
float32 and rounds what it gives to the type that the program declares for it, float16 as a rule: what Core ML's engines
store between operations. What they accumulate in differs from engine to engine, so last bits may too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from coremltools.converters.mil.frontend.milproto.load import load
from coremltools.converters.mil.mil.types import builtin_to_string
from torch import Tensor
from torch.nn import functional

Arguments = dict[str, Any]


class UnknownOperationError(Exception):
    """The program holds an operation, or a form of one, that is not evaluated here."""


class MilProgram:
    """A saved ML Program with one input and one output.

    Raises:
        UnknownOperationError: it holds something else than the operations of this file.
    """

    def __init__(self, package: Path) -> None:
        model = ct.models.MLModel(str(package), skip_model_load=True)
        spec = model.get_spec()
        program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir)
        function = program.functions["main"]
        (self._input,) = function.inputs
        (output,) = function.outputs
        self._output = output.name
        self._constants: dict[str, Any] = {}
        self._steps = []
        for operation in function.operations:
            if operation.op_type == "const" or operation.op_type.startswith("constexpr_"):
                value = operation.val.val if operation.op_type == "const" else operation.materialized_val_inference()
                self._constants[operation.outputs[0].name] = _to_torch(value)
            elif operation.op_type in OPERATIONS and len(operation.outputs) == 1:
                self._steps.append(operation)
            else:
                raise UnknownOperationError(f"operation {operation.op_type}")

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes); each image is computed as by a call of its own, whatever shapes are fixed."""
        with torch.no_grad():
            outputs: Tensor = torch.vmap(self._single)(images[:, None])
        return outputs[:, 0]

    def _single(self, image: Tensor) -> Tensor:
        values = self._constants | {self._input: image}
        for operation in self._steps:
            arguments = {
                name: [values[v.name] for v in var] if isinstance(var, tuple | list) else values[var.name]
                for name, var in operation.inputs.items()
                if var is not None
            }
            output = operation.outputs[0]
            result = OPERATIONS[operation.op_type](arguments)
            values[output.name] = result.half().float() if builtin_to_string(output.dtype) == "fp16" else result
        result = values[self._output]
        assert isinstance(result, Tensor)
        return result


def _to_torch(value: Any) -> Any:
    """Constants: float arrays as float32 tensors, everything else as plain Python values."""
    if isinstance(value, np.ndarray) and value.ndim and np.issubdtype(value.dtype, np.floating):
        return torch.from_numpy(value.astype(np.float32))
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _padding(a: Arguments, x: Tensor, kernel: list[int], strides: list[int], dilations: list[int]) -> list[int]:
    """What `functional.pad` takes, last axis first, for the `pad_type` of a convolution or a pool."""
    kind = a["pad_type"]
    pairs = []
    for i, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True)):
        size = x.shape[2 + i]
        if kind == "custom":
            pairs.append((a["pad"][2 * i], a["pad"][2 * i + 1]))
        elif kind == "valid":
            pairs.append((0, 0))
        elif kind in {"same", "same_lower"}:
            total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            short, long = total // 2, total - total // 2
            pairs.append((short, long) if kind == "same" else (long, short))
        else:
            raise UnknownOperationError(f"pad_type {kind}")
    return [amount for pair in reversed(pairs) for amount in pair]


def _padded(x: Tensor, amounts: list[int], value: float) -> Tensor:
    return functional.pad(x, amounts, value=value) if any(amounts) else x


def _conv(a: Arguments) -> Tensor:
    x, weight = a["x"], a["weight"]
    if x.dim() != 4:
        raise UnknownOperationError(f"conv over {x.dim() - 2} axes")
    strides, dilations = a.get("strides", [1, 1]), a.get("dilations", [1, 1])
    padded = _padded(x, _padding(a, x, list(weight.shape[2:]), strides, dilations), 0.0)
    return functional.conv2d(padded, weight, a.get("bias"), strides, 0, dilations, a.get("groups", 1))


def _pool(a: Arguments, fill: float, pool: Callable[..., Tensor]) -> Tensor:
    x = a["x"]
    if x.dim() != 4 or a.get("ceil_mode"):
        raise UnknownOperationError("a pool over other than two axes, or with ceil_mode")
    kernel = a["kernel_sizes"]
    strides = a.get("strides", [1, 1])
    return pool(_padded(x, _padding(a, x, kernel, strides, [1, 1]), fill), kernel, strides)


def _avg_pool(a: Arguments) -> Tensor:
    mean = _pool(a, 0.0, functional.avg_pool2d)
    if not a.get("exclude_padding_from_average"):
        return mean
    return mean / _pool(a | {"x": torch.ones_like(a["x"])}, 0.0, functional.avg_pool2d)


def _pad(a: Arguments) -> Tensor:
    x, amounts, mode = a["x"], a["pad"], a.get("mode", "constant")
    pairs = [amounts[i : i + 2] for i in range(0, len(amounts), 2)]
    flat = [amount for pair in reversed(pairs) for amount in pair]
    if mode == "constant":
        return functional.pad(x, flat, value=a.get("constant_val", 0.0))
    if mode not in {"reflect", "replicate"} or any(flat[4:]):
        raise UnknownOperationError(f"pad in mode {mode}")
    return functional.pad(x, flat[:4], mode=mode)


def _batch_norm(a: Arguments) -> Tensor:
    return functional.batch_norm(
        a["x"], a["mean"], a["variance"], a.get("gamma"), a.get("beta"), training=False, eps=a["epsilon"]
    )


def _matmul(a: Arguments) -> Tensor:
    x = a["x"].mT if a.get("transpose_x") else a["x"]
    y = a["y"].mT if a.get("transpose_y") else a["y"]
    return torch.matmul(x, y)


def _concat(a: Arguments) -> Tensor:
    if a.get("interleave"):
        raise UnknownOperationError("concat with interleave")
    return torch.cat(a["values"], a["axis"])


def _cast(a: Arguments) -> Tensor:
    if a["dtype"] not in {"fp16", "fp32"}:
        raise UnknownOperationError(f"cast to {a['dtype']}")
    x: Tensor = a["x"]
    return x.float()


def _reduce(a: Arguments, over: Callable[..., Tensor]) -> Tensor:
    axes = a.get("axes") or list(range(a["x"].dim()))
    return over(a["x"], axes, keepdim=a.get("keep_dims", False))


def _squeeze(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    return x.squeeze(tuple(a["axes"])) if a.get("axes") else x.squeeze()


def _expand_dims(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    rank = x.dim() + len(a["axes"])
    for axis in sorted(axis % rank for axis in a["axes"]):
        x = x.unsqueeze(axis)
    return x


def _number(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32)


OPERATIONS: dict[str, Callable[[Arguments], Tensor]] = {
    "add": lambda a: a["x"] + a["y"],
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "cast": _cast,
    "clip": lambda a: a["x"].clamp(a["alpha"], a["beta"]),
    "concat": _concat,
    "conv": _conv,
    "expand_dims": _expand_dims,
    "gelu": lambda a: functional.gelu(a["x"], approximate="none" if a.get("mode", "EXACT") == "EXACT" else "tanh"),
    "leaky_relu": lambda a: functional.leaky_relu(a["x"], a["alpha"]),
    "linear": lambda a: functional.linear(a["x"], a["weight"], a.get("bias")),
    "matmul": _matmul,
    "max_pool": lambda a: _pool(a, float("-inf"), functional.max_pool2d),
    "maximum": lambda a: torch.maximum(_number(a["x"]), _number(a["y"])),
    "minimum": lambda a: torch.minimum(_number(a["x"]), _number(a["y"])),
    "mul": lambda a: a["x"] * a["y"],
    "pad": _pad,
    "real_div": lambda a: a["x"] / a["y"],
    "reduce_max": lambda a: _reduce(a, torch.amax),
    "reduce_mean": lambda a: _reduce(a, torch.mean),
    "reduce_sum": lambda a: _reduce(a, torch.sum),
    "relu": lambda a: functional.relu(a["x"]),
    "relu6": lambda a: functional.relu6(a["x"]),
    "reshape": lambda a: a["x"].reshape(a["shape"]),
    "sigmoid": lambda a: torch.sigmoid(a["x"]),
    "sigmoid_hard": lambda a: (a["x"] * a["alpha"] + a["beta"]).clamp(0.0, 1.0),
    "silu": lambda a: functional.silu(a["x"]),
    "softmax": lambda a: torch.softmax(a["x"], a["axis"]),
    "squeeze": _squeeze,
    "sub": lambda a: a["x"] - a["y"],
    "tanh": lambda a: torch.tanh(a["x"]),
    "thresholded_relu": lambda a: torch.where(a["x"] >= a["alpha"], a["x"], 0.0),
    "transpose": lambda a: a["x"].permute(a["perm"]),
}
