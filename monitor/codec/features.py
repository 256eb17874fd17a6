"""Which features records have: read off the first of them, for training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from monitor.codec.layout import fit_name
from monitor.record import RecordSettings


def features_of(record: RecordSettings, values: Iterable[bytes | None]) -> tuple[str, ...]:
    """Return the names that have a number in one of the records, in order of first appearance.

    Wide layout: the keys of the object `record.values`; long layout: the names at `record.sensor`. Records that cannot
    be decoded name nothing, and names that no feature can have (quotes, control characters) are left out: one odd
    record shall not keep a model from being trained.
    """
    names: dict[str, bool] = {}  # in order of first appearance → whether there was a number
    for value in values:
        for name, number in _numbers(value, record):
            names[name] = names.get(name, False) or number
    return tuple(name for name, number in names.items() if number and fit_name(name))


def _numbers(value: bytes | None, record: RecordSettings) -> list[tuple[str, bool]]:
    """Return the names in one record, each with whether its value is a number."""
    decode = msgspec.json.decode if record.codec == "json" else msgspec.msgpack.decode
    try:
        found = decode(value or b"")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []  # a dead letter, when its turn comes
    if record.layout == "long":
        name = _at(found, record.sensor)
        return [(name, _is_number(_at(found, record.value)))] if isinstance(name, str) else []
    values = _at(found, record.values)
    if not isinstance(values, Mapping):
        return []
    fields = {record.stream, record.time} if not record.values else set()
    return [
        (name, _is_number(number)) for name, number in values.items() if isinstance(name, str) and name not in fields
    ]


def _at(value: Any, path: str) -> Any:  # noqa: ANN401 - any JSON
    """Follow a dotted path; None where it leads nowhere."""
    for name in path.split(".") if path else ():
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
