"""Many networks to fp32 TFLite files, quickly: what a search exports to have it timed on the device."""

from __future__ import annotations

import queue
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.export.graph import to_onnx
from pipeline.export.worker import TIMEOUT_S, Worker
from pipeline.run_folder import write_bytes, writing

if TYPE_CHECKING:
    from torch import nn


class TfliteConverter:
    """Keeps `workers` converter processes warm.

    The network's input is (1, C, H, W); the TFLite file's is (1, H, W, C), its output logits (1, classes).
    """

    def __init__(self, workers: int = 1, timeout_s: float = TIMEOUT_S) -> None:
        self._workers = [Worker(timeout_s) for _ in range(workers)]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="tflite")

    def __enter__(self) -> Self:
        for worker in self._workers:
            worker.start()
            self._idle.put(worker)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for worker in self._workers:
                worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def convert(self, network: nn.Module, input_shape: tuple[int, int, int], path: Path) -> Path:
        """Write the network as an fp32 TFLite file and return its path.

        Args:
            network: what is exported; its weights and mode stay as they are.
            input_shape: (C, H, W) of one image.
            path: the file to write; it appears whole or not at all.

        Raises:
            ExportError: with the stage that failed, "onnx export" or "tflite conversion".
            StorageError: the file cannot be written.
        """
        return self.submit(network, input_shape, path).result()

    def submit(self, network: nn.Module, input_shape: tuple[int, int, int], path: Path) -> Future[Path]:
        """Like `convert`, but only the ONNX export happens before it returns; the rest runs in the next idle worker.

        The network may be changed as soon as this returns.
        """
        return self._threads.submit(self._finish, to_onnx(network, input_shape), path)

    def run(self, path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits that a TFLite file gives here. (N, H, W, C) -> (N, classes)

        Raises:
            ExportError: LiteRT cannot run it.
        """
        result: NDArray[np.float32] = self._call("running the file", "tflite:run", path=str(path), images=images)
        return result

    def _finish(self, model: bytes, path: Path) -> Path:
        content: bytes = self._call("tflite conversion", "tflite:convert", model=model)
        with writing(path):
            write_bytes(path, content)
        return path

    def _call(self, stage: str, function: str, **arguments: Any) -> Any:
        worker = self._idle.get()
        try:
            return worker.call(stage, function, **arguments)
        finally:
            self._idle.put(worker)
