"""Whether XNNPACK used the zeros that a file leaves out, or unpacked them and computed with zeros.

No API tells, and the wheels of LiteRT are built without XNNPACK's log ("XNNPACK has switched to sparse inference
mode!"), but the profile of an inference does: in that mode, and in no other, XNNPACK lays images out as NCHW, and calls
1x1 convolutions SPMM, a product of a sparse and a dense matrix (its src/subgraph.c and src/microkernel-type.c).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from device_bench.device import Missing
from device_bench.op_match import is_one_piece
from device_bench.records import OpTime

_KERNEL = re.compile(r"\bSPMM\b|^Convolution \(NCHW, \w+\)$")
"""Builds of before 2022 do not name the kernel: there, all convolutions in NCHW count."""


def sparse_kernels(ops: Sequence[OpTime] | Missing) -> int | Missing:
    """How many operations of an inference ran on sparse kernels, by its profile."""
    if isinstance(ops, Missing):
        return ops
    if is_one_piece(ops):
        return Missing(reason="the profile does not see what the delegate ran inside")
    return sum(_KERNEL.search(op.type) is not None for op in ops)
