"""The checkpoint of a training: one file, from which a training that was killed goes on as if nothing had happened.

It holds every number that the next epoch depends on: weights, the optimizer's state, the state of random layers, the
best weights so far, and the epochs that were run, from which learning rate and early stopping follow. The file is
replaced as a whole, so a kill leaves the old one or the new one. A fingerprint ties it to the windows and settings of
one training: the checkpoint of another one is not used.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import zipfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.cells import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.base import Hyperparameters
    from models.cells import Cells

EVERY = 2.0
"""Seconds between two checkpoints at least; so much work a kill can cost, beside the epoch that it breaks off."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch that was run.

    Attributes:
        epoch: its number, from 1.
        epochs: most epochs there can be.
        loss: training loss.
        validation_loss: validation loss.
        seconds: wall time since the fit began, without the time between a kill and the resumption.
        eta: seconds to the end, if training does not stop early.
    """

    epoch: int
    epochs: int
    loss: float
    validation_loss: float
    seconds: float
    eta: float


@dataclass(frozen=True)
class State:
    """Where a training stands.

    Attributes:
        history: epochs that were run.
        variables: everything that training changes: weights, random state, then the optimizer's.
        best: the variables of the model at the best epoch.
    """

    history: tuple[Epoch, ...]
    variables: tuple[NDArray[Any], ...]
    best: tuple[NDArray[Any], ...]


class Checkpoint:
    """The checkpoint of one training."""

    def __init__(self, path: Path, fingerprint: str, every: float = EVERY) -> None:
        """Keep the checkpoint in the file `path`, written every so many seconds at most."""
        self.path, self.fingerprint, self.every = path, fingerprint, every
        self._written = time.monotonic()

    def read(self) -> State | None:
        """Return where a training with this fingerprint stood; None if there is none, or the file is not whole."""
        try:
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as arrays:
                told = json.loads(bytes(arrays["told"]))
                if told["fingerprint"] != self.fingerprint:
                    return None
                history = tuple(Epoch(**epoch) for epoch in told["history"])
                parts = [
                    tuple(arrays[f"{name}{number}"] for number in range(told[name])) for name in ("variables", "best")
                ]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        return State(history, parts[0], parts[1])

    def due(self) -> bool:
        """Return whether it is time to write."""
        return time.monotonic() - self._written >= self.every

    def write(self, state: State) -> None:
        """Replace the file.

        Raises:
            TrainingError: if it cannot be written.
        """
        told = {
            "fingerprint": self.fingerprint,
            "history": [asdict(epoch) for epoch in state.history],
            "variables": len(state.variables),
            "best": len(state.best),
        }
        arrays = {"told": np.frombuffer(json.dumps(told).encode(), np.uint8)}
        for name in ("variables", "best"):
            arrays |= {f"{name}{number}": array for number, array in enumerate(getattr(state, name))}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        beside = self.path.with_name(self.path.name + ".new")
        try:
            with beside.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            message = f"the checkpoint {self.path} cannot be written: {error.strerror}"
            raise TrainingError(message) from None
        self._written = time.monotonic()

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)
        self.path.with_name(self.path.name + ".new").unlink(missing_ok=True)


def fingerprint(cells: Cells, kind: str, hyper: Hyperparameters, rest: Sequence[str]) -> str:
    """Return what tells one training from another: SHA-256 of its cells, settings and the `rest`, hex."""
    digest = hashlib.sha256(json.dumps([kind, hyper.model_dump(mode="json"), *rest], sort_keys=True).encode())
    for column in (cells.values, cells.stream, cells.starts, cells.label):
        digest.update(f"{column.dtype} {column.shape}".encode())
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
