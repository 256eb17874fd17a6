"""`training.json` and `training.png`: how a training went, for a program and for the eye."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from models.base import Hyperparameters
    from models.bundle import Training
    from models.fitting import Epoch


class Losses(Protocol):
    """What is drawn of an epoch."""

    @property
    def epoch(self) -> int:
        """Its number, from 1."""

    @property
    def loss(self) -> float:
        """Training loss."""

    @property
    def validation_loss(self) -> float:
        """Validation loss."""


def write(folder: Path, history: Sequence[Epoch], kind: str, hyper: Hyperparameters, summary: Training) -> None:
    """Write both files into `folder`."""
    content = {
        "kind": kind,
        "hyperparameters": hyper.model_dump(mode="json"),
        "summary": summary.model_dump(mode="json"),
        "history": [{name: value for name, value in asdict(epoch).items() if name != "eta"} for epoch in history],
    }
    (folder / "training.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    curves(history, kind, hyper.loss, summary).savefig(folder / "training.png", dpi=120)


def curves(history: Sequence[Losses], kind: str, loss: str, summary: Training) -> Figure:
    """Return the picture of a training.

    Args:
        history: the epochs, at least one.
        kind: kind of autoencoder.
        loss: name of the loss.
        summary: how the training ended.
    """
    from matplotlib.figure import Figure  # without pyplot: no window system is looked for
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    numbers = [epoch.epoch for epoch in history]
    marker = "o" if len(numbers) == 1 else None
    axes.plot(numbers, [epoch.loss for epoch in history], label="training", marker=marker)
    axes.plot(numbers, [epoch.validation_loss for epoch in history], label="validation", marker=marker)
    axes.axhline(summary.baseline_loss, color="grey", linestyle=":", label="training mean as reconstruction")
    axes.axvline(summary.best_epoch, color="grey", linewidth=0.8, label=f"kept: epoch {summary.best_epoch}")
    axes.set(title=f"Training of {kind}", xlabel="epoch", ylabel=loss, yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure
