"""Whose a raw record is, before it is decoded for a model.

Only the stream id is read; everything else is skipped, and judged by who decodes the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from monitor.codec.layout import stream_decoder
from monitor.record import RecordSettings


class StreamIds:
    """Reads stream ids as section `record` describes them."""

    def __init__(self, settings: RecordSettings) -> None:
        """Set up.

        Raises:
            ValueError: if no field can lie at `record.stream`.
        """
        self._decode, self._stream = stream_decoder(settings)

    def of(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> list[bytes | None]:
        """Return the stream id of each record as a Kafka key would be; None where it has none, or cannot be read."""
        try:
            names = list(map(self._stream, map(self._decode, cast("Sequence[bytes]", values))))
        except (TypeError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return [self._one(value, key) for value, key in zip(values, keys, strict=True)]
        if names.count(None) == len(names):
            return list(keys)
        return [key if name is None else _bytes(name) for name, key in zip(names, keys, strict=True)]

    def _one(self, value: bytes | None, key: bytes | None) -> bytes | None:
        """Return the id of one record, which may be anything."""
        try:
            name = self._stream(self._decode(value or b""))
        except (TypeError, ValueError, RecursionError):
            return None
        return key if name is None else _bytes(name)


def _bytes(name: Any) -> bytes:  # noqa: ANN401 - text or a number
    return str(name).encode("utf-8", "surrogatepass")
