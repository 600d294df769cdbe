"""What a TFLite file says of itself: its inputs, outputs and operations, read without running it."""

from __future__ import annotations

from pathlib import Path

from device_bench.errors import UsageError
from device_bench.records import Record


class Graph(Record):
    """The main graph of a TFLite file."""

    inputs: tuple[str, ...]
    """Names, in the order in which the network takes them."""
    n_outputs: int
    operations: int


def read_graph(path: Path) -> Graph:
    """Read a file's main graph.

    Raises:
        UsageError: the file cannot be read, or is none.
    """
    # The flatbuffer's schema (tensorflow/compiler/mlir/lite/schema/schema.fbs), as LiteRT ships it.
    from ai_edge_litert import schema_py_generated as schema

    try:
        graph = schema.Model.GetRootAs(path.read_bytes(), 0).Subgraphs(0)
        return Graph(
            inputs=tuple(graph.Tensors(graph.Inputs(i)).Name().decode() for i in range(graph.InputsLength())),
            n_outputs=graph.OutputsLength(),
            operations=graph.OperatorsLength(),
        )
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give the path of a .tflite file") from error
    except Exception as error:  # flatbuffers raises whatever its arithmetic meets in a damaged file
        raise UsageError(f"{path}: not a whole TFLite file; export the model again") from error
