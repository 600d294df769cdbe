"""A training that was stopped, on disk: weights, optimizer and reports after the last whole epoch."""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.errors import StorageError
from pipeline.run_folder import write_bytes

DIGEST_BYTES = 32

logger = logging.getLogger(__name__)


class Checkpoint:
    """One file that belongs to one training; `identity` tells that training from any other."""

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.identity = identity

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, reports: list[dict[str, Any]]) -> None:
        """Write the file whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        buffer = io.BytesIO()
        torch.save(
            {
                "identity": self.identity,
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "reports": reports,
            },
            buffer,
        )
        payload = buffer.getvalue()
        try:
            write_bytes(self.path, hashlib.sha256(payload).digest() + payload)
        except OSError as error:
            raise StorageError(
                f"{self.path}: the training's state cannot be written ({error.strerror}); "
                f"it takes {len(payload) / 1e6:.0f} MB: free some space or give a folder that is writable"
            ) from error

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
        """Fill network and optimizer, and give the reports of the epochs that are done.

        A file that is damaged or of another training costs time, not results: it is left alone, a warning says so,
        and the training starts from its beginning.
        """
        if not self.path.exists():
            return []
        state = self._read()
        if state is None or state["identity"] != self.identity:
            reason = "is damaged" if state is None else "belongs to another training"
            logger.warning("%s %s: training starts from the first epoch and replaces it", self.path, reason)
            return []
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        reports: list[dict[str, Any]] = state["reports"]
        return reports

    def _read(self) -> dict[str, Any] | None:
        try:
            content = self.path.read_bytes()
            digest, payload = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
            if hashlib.sha256(payload).digest() != digest:
                return None
            state: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        return state


def digest_of(network: nn.Module) -> str:
    """SHA-256 of a network's tensors, names included."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
