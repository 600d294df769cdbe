"""Zeros that are not stored: the TFLite file of a network whose weights are mostly zero; runs with tensorflow.

This is the last step of tensorflow's converter under `tf.lite.Optimize.EXPERIMENTAL_SPARSITY`. It takes any TFLite
file, so nothing is converted a second time and the graph stays as it is. That matters: XNNPACK has sparse kernels only
for networks whose strided layers pad on all sides alike (its src/subgraph.c), as the PADs of our fp32 files do.
"""

from __future__ import annotations


def store_sparse(model: bytes) -> bytes:
    """fp32 TFLite to one whose weights lie there without their zeros, behind DENSIFY operations.

    Each weight tensor with at least 30% zeros (tensorflow's threshold) is stored as its other values and their places.
    XNNPACK reads that as a request for its sparse kernels, and unpacks where it has none.
    """
    from tensorflow.lite.python.convert import mlir_sparsify

    return bytes(mlir_sparsify(model))
