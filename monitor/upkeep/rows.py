"""What is known of a stream, for people and programs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.alert import RULE, SEVERITIES, alert_id
from monitor.engine import Engine
from monitor.record import NEVER
from monitor.table import Column, ObjectColumn
from monitor.times import to_iso
from monitor.upkeep.reading import Loaded

_LONG = 64
"""A column of more numbers is shown by its shape."""


def row(engine: Engine, loaded: Loaded, slot: int) -> dict[str, Any]:
    """Return what is known of the stream in a slot.

    `line` is what its next score would be held against. Times are ISO 8601, null where there is none; numbers that no
    JSON has are null. `columns` are all columns as they are; large ones by their shape alone.
    """
    partition, table = loaded.partition, loaded.partition.table
    length = engine.window.length
    filled = int(table["count"][slot])
    waiting = int(table.ragged("waiting").rows(np.array([slot]))[1].sum()) if _has(loaded, "waiting") else 0
    held = int(table["held_time"][slot])
    found = {
        "stream": table.id_of(slot),
        "topic": partition.topic,
        "partition": partition.number,
        "offset": loaded.meta.next_offset,
        "first_offset": int(table["first_offset"][slot]),
        "active": _time(table["active"][slot]),
        "window": {
            "rows": filled,
            "length": length,
            "fill": min(filled, length) / length,
            "last_time": _time(table["seen"][slot]),
            "held": None if held == NEVER else to_iso(held),
            "waiting": waiting,
            "late_run": int(table["late_run"][slot]),
        },
        "line": _number(_line(engine, loaded, slot)),
        "alert": _alert(loaded, slot),
        "unread_stages": sorted(loaded.restore.restarted),
        "columns": {column.name: _cell(loaded, column.name, slot) for column in partition.columns},
    }
    if loaded.gone is not None:
        found["windows_lost"] = loaded.gone
    return found


def _alert(loaded: Loaded, slot: int) -> dict[str, Any]:
    """Return where a stream's alert is."""
    table, partition = loaded.partition.table, loaded.partition
    firing = bool(table["firing"][slot])
    found: dict[str, Any] = {
        "firing": firing,
        "over_run": int(table["over_run"][slot]),
        "under_run": int(table["under_run"][slot]),
        "scored": int(table["scored"][slot]),
        "last_opened": _time(table["opened_end"][slot]),
    }
    if firing:
        opened_in = int(table["opened_partition"][slot])
        found |= {
            "since": _time(table["starts_at"][slot]),
            "alert_id": alert_id(
                partition.topic,
                partition.number if opened_in < 0 else opened_in,
                int(table["opened_offset"][slot]),
                table.id_of(slot),
                RULE,
                int(table["opened_end"][slot]),
            ),
            "revision": int(table["revision"][slot]),
            "severity": SEVERITIES[table["severity"][slot]],
            "score": _number(table["last_score"][slot]),
            "threshold": _number(table["last_line"][slot]),
        }
    return found


def _line(engine: Engine, loaded: Loaded, slot: int) -> float:
    """Return the line for a stream's next score; the columns are as before afterwards."""
    table, threshold = loaded.partition.table, engine.pipeline.threshold
    at = np.array([slot], np.int32)
    plain = [column.name for column in threshold.columns if isinstance(column, Column)]
    objects = [column for column in threshold.columns if isinstance(column, ObjectColumn)]
    before = {name: table[name][slot].copy() for name in plain}
    dumped = {column.name: column.dump(table.objects(column.name)[slot]) for column in objects}
    end = np.array([max(int(table["seen"][slot]), 0)], np.int64)
    line = threshold.step(table, at, np.ones(1), end, np.zeros(1, np.bool_))
    for name in plain:
        table[name][slot] = before[name]
    for column in objects:
        table.objects(column.name)[slot] = column.load(dumped[column.name])
    return float(line[0])


def _has(loaded: Loaded, name: str) -> bool:
    return any(column.name == name for column in loaded.partition.columns)


def _cell(loaded: Loaded, name: str, slot: int) -> Any:  # noqa: ANN401 - JSON
    """Return a cell of the table."""
    table = loaded.partition.table
    column = next(column for column in loaded.partition.columns if column.name == name)
    if isinstance(column, ObjectColumn):
        return f"{len(column.dump(table.objects(name)[slot]))} bytes"
    if not isinstance(column, Column):
        return f"{int(table.ragged(name).rows(np.array([slot]))[1].sum())} rows"
    values: NDArray[Any] = table[name][slot]
    if values.size > _LONG:
        return f"{values.dtype} {list(values.shape)}"
    return _plain(values.tolist())


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return _number(value)
    return None if value == NEVER else value


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _time(value: int) -> str | None:
    """Return a time as text; None for `NEVER` and for what is none."""
    return to_iso(int(value)) if value > 0 else None
