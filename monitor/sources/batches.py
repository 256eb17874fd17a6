"""Parts of a batch: what is done for a range of offsets instead of a whole poll."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from monitor.sources.base import Batch, Rows

_END = 2**63 - 1


def bounds(batch: Batch | Rows) -> tuple[int, int]:
    """Return the first and the last offset of a batch that is not empty."""
    if isinstance(batch, Batch):
        return batch.offsets[0], batch.offsets[-1]
    ends = [int(batch.offset[0]), int(batch.offset[-1])] if len(batch.offset) else []
    ends += [batch.refused[0].offset, batch.refused[-1].offset] if batch.refused else []
    return min(ends), max(ends)


def offsets_of(batch: Batch | Rows) -> list[int]:
    """Return the offsets of a batch in order, those of refused rows included."""
    if isinstance(batch, Batch):
        return list(batch.offsets)
    return sorted([*batch.offset.tolist(), *(row.offset for row in batch.refused)])


def part(batch: Batch | Rows, begin: int, end: int) -> Batch | Rows:
    """Return the records with offsets from `begin` to below `end`; streams of which there is none are left out."""
    if isinstance(batch, Rows):
        return _rows(batch, begin, end)
    low, high = bisect_left(batch.offsets, begin), bisect_left(batch.offsets, end)
    if low == 0 and high == len(batch):
        return batch
    return Batch(
        batch.topic,
        batch.partition,
        batch.offsets[low:high],
        batch.timestamps[low:high],
        batch.keys[low:high],
        batch.values[low:high],
    )


def without(batch: Batch | Rows, offsets: Sequence[int]) -> list[Batch | Rows]:
    """Return a batch in the pieces that some records, by their rising offsets, leave of it; none of them is empty."""
    begins = [0, *(offset + 1 for offset in offsets)]
    pieces = [part(batch, begin, end) for begin, end in zip(begins, [*offsets, _END], strict=True)]
    return [piece for piece in pieces if len(piece)]


def _rows(rows: Rows, begin: int, end: int) -> Rows:
    low, high = np.searchsorted(rows.offset, [begin, end]).tolist()
    refused = [row for row in rows.refused if begin <= row.offset < end]
    if low == 0 and high == len(rows.offset) and len(refused) == len(rows.refused):
        return rows
    stream = rows.stream[low:high]
    codes, where, inverse = np.unique(stream, return_index=True, return_inverse=True)
    order = np.argsort(where)  # streams in the order of their first row, as a source names them
    return Rows(
        rows.topic,
        rows.partition,
        [rows.streams[code] for code in codes[order].tolist()],
        np.argsort(order)[inverse].astype(np.int32),
        rows.time[low:high],
        rows.values[low:high],
        rows.offset[low:high],
        None if rows.label is None else rows.label[low:high],
        refused,
    )
