"""One network to all the files that the configuration asks for, each checked against torch and evaluated."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from pipeline.config import ExportSection
from pipeline.data.splits import DataSet
from pipeline.errors import ExportError
from pipeline.evaluation import Accuracy, Loss
from pipeline.export.examiner import BATCH, Examiner, Images, NotCheckedError, nhwc
from pipeline.export.files import place_folder
from pipeline.export.graph import to_onnx, to_torchscript
from pipeline.export.parity import MAX_REL_ERROR, MIN_IMAGES, max_rel_error
from pipeline.export.worker import Worker
from pipeline.pruning.weights import sparsity
from pipeline.records import Artifact, ParityMethod
from pipeline.run_folder import write_bytes

CALIBRATION_IMAGES = 100
SPARSE = "-sparse"
"""How the precisions end whose files leave zeros out."""
MIN_SPARSITY = 0.3
"""Share of zero weights from which on such files are written: tensorflow stores none sparse that has fewer."""


class ExportWorkers:
    """The processes that convert; share them between variants, since starting them takes seconds."""

    def __init__(self) -> None:
        self.tflite = Worker()
        self.coreml = Worker()
        self.sparse = Worker(tensorflow=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.tflite.close()
        self.coreml.close()
        self.sparse.close()


def export_variant(
    network: nn.Module,
    *,
    variant: str,
    data: DataSet,
    settings: ExportSection,
    folder: Path,
    workers: ExportWorkers | None = None,
    on_progress: Callable[[str], None] | None = None,
    evaluation: Accuracy | None = None,
    loss: Loss | None = None,
) -> list[Artifact]:
    """Write `<variant>-<precision>.tflite` and `.mlpackage` files with their sidecars, and say what each is worth.

    A file that fails its parity gate, or that XNNPACK takes only in part, is written and marked, not refused. Sparse
    files are written where MIN_SPARSITY of the weights of convolutions and linear layers are zero, and nowhere else.

    Args:
        network: what is exported; it stays as it is.
        folder: an existing folder. Artifacts are listed as `<its name>/<file>`, its ending `.partial` left out: a
            stage's folder loses it when the stage is complete.
        workers: processes to use; started and closed here if None.
        on_progress: told what is going on; may be called from another thread, never from two at once.
        evaluation, loss: `data.evaluation` and `data.loss`, where they are the user's own.

    Raises:
        ExportError: a conversion failed, or the ONNX file does not compute what torch does; the text names the stage.
    """
    say = _one_at_a_time(on_progress)
    settings = _without_useless(settings, sparsity(network), say)
    size = data.preprocessing.image_size
    network = copy.deepcopy(network).cpu().eval()
    say("reference outputs of torch")
    input_shape = (data.preprocessing.channels, size, size)
    with nullcontext(workers) if workers else ExportWorkers() as used:
        export = _Export(
            # Both before a thread starts: torch traces one network at a time.
            onnx=to_onnx(network, input_shape),
            torchscript=to_torchscript(network, input_shape) if settings.coreml else b"",
            input_shape=input_shape,
            stem=str(folder / variant),
            variant=variant,
            data=data,
            settings=settings,
            workers=used,
            examiner=Examiner(network, data, evaluation, loss),
            say=say,
        )
        return export.all_files()


def _without_useless(settings: ExportSection, zeros: float, say: Callable[[str], None]) -> ExportSection:
    """The settings without sparse files, where the network has not the zeros for them."""
    if zeros >= MIN_SPARSITY:
        return settings
    kept = {
        kind: tuple(name for name in asked if not name.endswith(SPARSE))
        for kind, asked in (("tflite", settings.tflite), ("coreml", settings.coreml))
    }
    say(f"no sparse files: {zeros:.0%} of the weights are zero; with less than {MIN_SPARSITY:.0%} they save nothing")
    return settings.model_copy(update=kept)


def _one_at_a_time(tell: Callable[[str], None] | None) -> Callable[[str], None]:
    """`tell`, or nothing, for several threads."""
    lock = threading.Lock()

    def say(text: str) -> None:
        if tell:
            with lock:
                tell(text)

    return say


@dataclass(frozen=True)
class _Export:
    onnx: bytes
    torchscript: bytes
    input_shape: tuple[int, int, int]
    stem: str
    variant: str
    data: DataSet
    settings: ExportSection
    workers: ExportWorkers
    examiner: Examiner
    say: Callable[[str], None]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def _call(self, worker: Worker, stage: str, function: str, **arguments: Any) -> Any:
        if self.cancelled.is_set():
            raise CancelledError
        return worker.call(stage, function, **arguments)

    def all_files(self) -> list[Artifact]:
        """TFLite here, Core ML beside it in a thread; where one fails, the other ends."""
        with ThreadPoolExecutor(1) as threads:
            coreml = threads.submit(self.coreml)
            try:
                return self.tflite() + coreml.result()
            except BaseException:
                self.cancelled.set()
                if not coreml.done():
                    self.workers.coreml.kill()
                raise

    def tflite(self) -> list[Artifact]:
        self.say("onnx check")
        self._check_onnx()
        self.say("tflite conversion")
        fp32: bytes = self._call(self.workers.tflite, "tflite conversion", "tflite:convert", model=self.onnx)
        return [self._tflite(precision, fp32) for precision in self.settings.tflite]

    def _check_onnx(self) -> None:
        """A fault that is already in the ONNX file is told apart from one that its conversion adds."""
        images = self.examiner.first_images(MIN_IMAGES)
        logits = self._call(self.workers.tflite, "onnx check", "graph:run_onnx", model=self.onnx, images=images)
        error = max_rel_error(torch.from_numpy(logits), self.examiner.reference[: len(images)])
        if not error <= MAX_REL_ERROR:
            raise ExportError(
                f"onnx check failed: ONNX Runtime's logits differ from torch's by {error:.2g} of the largest; at most "
                f"{MAX_REL_ERROR:g} is allowed: look for what the network does differently while it is traced "
                "(a branch on values, randomness)"
            )

    def _tflite(self, precision: str, fp32: bytes) -> Artifact:
        call = partial(self._call, self.workers.tflite)
        path = Path(f"{self.stem}-{precision}.tflite")
        self.say(path.name)
        write_bytes(path, fp32 if precision == "fp32" else self._reduced(precision, fp32))

        def run(images: Images) -> Images:
            logits: Images = call(f"running {path.name}", "tflite:run", path=str(path.absolute()), images=nhwc(images))
            return logits

        artifact = self.examiner.examine(path, self.variant, "tflite", precision, "litert", run)
        if artifact.evaluation is None:  # it does not run, or gives no numbers: nobody will time it
            return _with_missing(artifact, "measurement", f"not timed: {artifact.missing['evaluation']}")
        fault = call(f"loading {path.name}", "tflite:delegation", path=str(path.absolute()))
        return _with_missing(artifact, "delegation", fault) if fault else artifact

    def _reduced(self, precision: str, fp32: bytes) -> bytes:
        arguments: dict[str, Any] = {"model": fp32}
        if precision.endswith(SPARSE):
            stored: bytes = self._call(
                self.workers.sparse, f"{precision} conversion", "sparse:store_sparse", **arguments
            )
            return stored
        if precision == "int8":
            images = [images for images, _ in self.data.train.batches(BATCH, limit=CALIBRATION_IMAGES)]
            arguments["images"] = nhwc(torch.cat(images).numpy())
        content: bytes = self._call(
            self.workers.tflite, f"{precision} conversion", f"tflite:to_{precision}", **arguments
        )
        return content

    def coreml(self) -> list[Artifact]:
        if not self.settings.coreml:
            return []
        self._call(
            self.workers.coreml,
            "core ml conversion",
            "coreml:convert",
            network=self.torchscript,
            input_shape=self.input_shape,
        )
        return [self._coreml(precision) for precision in self.settings.coreml]

    def _coreml(self, precision: str) -> Artifact:
        call = partial(self._call, self.workers.coreml)
        path = Path(f"{self.stem}-{precision}.mlpackage")
        self.say(path.name)
        place_folder(Path(call(f"core ml {precision} conversion", "coreml:package", precision=precision)), path)

        def run(images: Images) -> Images:
            logits, reason = call(f"running {path.name}", "coreml:run", path=str(path.absolute()), images=images)
            if reason:
                raise NotCheckedError(reason)
            result: Images = logits
            return result

        method: ParityMethod = "coreml" if sys.platform == "darwin" else "torch-mil"
        return self.examiner.examine(path, self.variant, "coreml", precision, method, run)


def _with_missing(artifact: Artifact, name: str, reason: str) -> Artifact:
    return artifact.model_copy(update={"missing": {**artifact.missing, name: reason}})
