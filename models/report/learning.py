"""How the training went: its curves, drawn from `training.json`, and its figures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from models import picture
from models.report.page import Picture, Section, Table

if TYPE_CHECKING:
    from models.report.subject import Subject

FILE = "training.json"


class _Epoch(BaseModel):
    """What is drawn of an epoch."""

    model_config = ConfigDict(extra="ignore")

    epoch: int
    loss: float
    validation_loss: float


@dataclass(frozen=True, slots=True)
class _History:
    epochs: list[_Epoch]
    missing: str = ""


def section(subject: Subject) -> Section:
    """Return the section; a bundle without the file has its figures alone."""
    training, history = subject.manifest.training, _history(subject)
    figures: list[tuple[str, Any]] = [
        (name.replace("_", " "), value)
        for name, value in training.model_dump().items()
        if name not in {"figures", "warnings"}
    ]
    figures += [(name.replace("_", " "), value) for name, value in training.figures.items()]
    text = [f"Warning: {warning}." for warning in training.warnings]
    table = Table(("", "value"), figures)
    if history.missing:
        return Section("Training", [history.missing, *text], [table])
    if len(history.epochs) == 1:
        text.insert(0, "Solved at once, or trained for one epoch: there is no curve to draw.")
        return Section("Training", text, [table])
    if training.best_epoch == training.epochs:
        text.insert(0, "The last epoch was the best: it was still learning, and more epochs may help.")
    hyper = subject.manifest.members[0].hyperparameters
    caption = (
        f"The loss of each epoch; the weights of epoch {training.best_epoch} were kept, where the validation loss was"
        " lowest. Validation that rises while training falls is overfitting."
    )
    drawn = picture.curves(history.epochs, subject.kind, hyper.loss, training)
    return Section("Training", text, [table], [Picture("training", "Curves", caption, drawn)])


def _history(subject: Subject) -> _History:
    """Return the epochs of the training, or why there are none."""
    if FILE not in subject.manifest.files:
        return _History([], f"The bundle has no {FILE}: how its training went is not known, only how it ended.")
    try:
        content = json.loads(subject.bundle.content(FILE))
        epochs = [_Epoch.model_validate(epoch) for epoch in content["history"]]
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        return _History([], f"{FILE} cannot be read ({type(error).__name__}): the curves are not drawn.")
    return _History(epochs, "" if epochs else f"{FILE} names no epoch: the curves are not drawn.")
