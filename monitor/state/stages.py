"""Stages and their columns: what of an old state still fits.

A stage whose type or columns are others than those that wrote the state restarts its own columns, and no other's. In
the log each restart has a number, the stage's *generation*: rows of an older one are not read any more, so a restart
costs no rewriting.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.pipeline import Pipeline
from monitor.table import AnyColumn, Column, RaggedColumn, StreamTable

NAMES = ("window", "line", "alert")


class Generation(NamedTuple):
    """What META says of a stage.

    Attributes:
        signature: hash of what wrote its columns.
        number: how often it was restarted.
        since: the input offset at which it began.
    """

    signature: str
    number: int
    since: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage's columns, and a hash of all that decides what they mean."""

    name: str
    columns: Sequence[AnyColumn]
    signature: str


@functools.lru_cache(maxsize=1_024)
def layout(column: AnyColumn) -> str:
    """Return a column's name with its dtype and shape."""
    if isinstance(column, Column):
        return f"{column.name} {np.dtype(column.dtype).newbyteorder('<').str}{list(column.shape)}"
    if isinstance(column, RaggedColumn):
        return f"{column.name} {np.dtype(column.dtype).descr}"
    return column.name


def stages_of(pipeline: Pipeline, features: Sequence[str]) -> tuple[Stage, Stage, Stage]:
    """Return the stages of a pipeline, in the order of `NAMES`."""
    window = pipeline.windower.settings
    rows = [window.length, window.stride, window.interval_ms, window.aggregate if window.interval_ms else "", features]
    return (
        _stage("window", pipeline.windower.columns, rows),
        _stage("line", pipeline.line_columns, [type(pipeline.threshold).__name__]),
        _stage("alert", pipeline.alert_columns, [features]),
    )


def _stage(name: str, columns: Sequence[AnyColumn], more: Iterable[object]) -> Stage:
    text = json.dumps([*more, *sorted(map(layout, columns))])
    return Stage(name, columns, hashlib.sha256(text.encode()).hexdigest()[:16])


def begun(stages: Sequence[Stage], offset: int) -> dict[str, Generation]:
    """Return the first generation of each stage."""
    return {stage.name: Generation(stage.signature, 0, offset) for stage in stages}


def restart(table: StreamTable, columns: Iterable[AnyColumn], slots: NDArray[np.intp]) -> None:
    """Set columns of some slots back to their initial values."""
    for column in columns:
        if isinstance(column, Column):
            table[column.name][slots] = column.initial
        elif isinstance(column, RaggedColumn):
            table.ragged(column.name).clear(slots)
        else:
            objects = table.objects(column.name)
            for slot in slots.tolist():
                objects[slot] = column.create()
