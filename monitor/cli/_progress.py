"""How far a long command is: a bar on a terminal, lines of JSON elsewhere, both on standard error."""

from __future__ import annotations

import json
import math
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict
from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from models.search import Trial
from models.training import Epoch


class Steps(AbstractContextManager["Steps"]):
    """Tells of the steps of a command, and of each epoch of a training."""

    def __init__(self) -> None:
        """Look whether standard error is a terminal."""
        self._bar: Progress | None = None
        self._step, self._fresh = "", True
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was; what was shown stays."""
        if self._bar is not None:
            self._end()
            self._bar.stop()
            self._bar = None

    def step(self, description: str) -> None:
        """Begin a step, whose end is not known in advance."""
        self._step, self._fresh = description, True
        if self._bar is not None:
            self._end()
            self._bar.add_task(description, total=None, detail="")

    def records(self, number: int) -> None:
        """Say how many records have been read."""
        if self._bar is not None:
            self._bar.update(self._bar.tasks[-1].id, detail=f"{number:,} records")

    def epoch(self, epoch: Epoch) -> None:
        """Say how an epoch went, and before the first one, if a killed training goes on."""
        if self._fresh and epoch.epoch > 1:
            text = f"resumed   after epoch {epoch.epoch - 1}, from the checkpoint of a training that was broken off"
            if self._bar is None:
                click.echo(text, err=True)
            else:
                self._bar.console.print(text)
        self._fresh = False
        if self._bar is None:
            click.echo(json.dumps({"step": self._step, **asdict(epoch)}), err=True)
            return
        losses = f"loss {epoch.loss:.3g}, validation {epoch.validation_loss:.3g}"
        detail = f"epoch {epoch.epoch}/{epoch.epochs}, {losses}, {_left(epoch.eta)} left at most"
        self._bar.update(self._bar.tasks[-1].id, total=epoch.epochs, completed=epoch.epoch, detail=detail)

    def trial(self, trial: Trial) -> None:
        """Say how a trial of a search went."""
        if self._bar is None:
            value = trial.value if math.isfinite(trial.value) else None
            click.echo(json.dumps({"step": self._step, **asdict(trial), "value": value}), err=True)
            return
        detail = f"{trial.number} trials, the last: {trial.value:.4g} ({trial.outcome})"
        self._bar.update(self._bar.tasks[-1].id, detail=detail)

    def _end(self) -> None:
        """End the last step: a training may stop before its last epoch."""
        if self._bar is not None and self._bar.tasks:
            last = self._bar.tasks[-1]
            self._bar.update(last.id, total=last.completed or 1, completed=last.completed or 1)


def _left(seconds: float) -> str:
    """Return a time as a reader wants it: `45 s`, `12 min`, `3 h`."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
