"""What lies between where a partition stands and where it is to go on: records, and batches that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from monitor.kafka.changelog import PartitionReader
from monitor.kafka.errors import EXIT_RETRY, KafkaProblem
from monitor.letters import DeadLetter
from monitor.sources._kafka_state import said
from monitor.sources.base import Key

MOST = 10_000
"""So many records are skipped at once: each becomes a dead letter, in one transaction."""


@dataclass(slots=True)
class Between:
    """What is to be skipped.

    Attributes:
        letters: records that can be read, as dead letters.
        unreadable: first and last offset of each batch that cannot.
        reasons: why not.
    """

    letters: list[DeadLetter] = field(default_factory=list)
    unreadable: list[tuple[int, int]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def between(reader: PartitionReader, key: Key, begin: int, end: int) -> Between:
    """Read a partition from one offset to another, past what cannot be read; at most a few records above `MOST`.

    Raises:
        SourceError: if the cluster cannot be asked.
    """
    found = Between()
    with said():
        while begin < end and len(found.letters) <= MOST:
            begin = _read(reader, key, begin, end, found)
    return found


def _read(reader: PartitionReader, key: Key, begin: int, end: int, found: Between) -> int:
    """Read to the end or past the next batch that cannot be read; return where that is."""
    at = begin
    try:
        for records in reader.read(key, begin, end):
            if records is None:
                continue
            found.letters += [
                DeadLetter(*key, offset, name, value, "skipped", "skipped by an operator")
                for offset, name, value in zip(records.offsets, records.keys, records.values, strict=True)
            ]
            at = records.offsets[-1] + 1
            if len(found.letters) > MOST:
                return at
    except KafkaProblem as error:
        reader.close()  # the client holds on to what it could not read
        if error.status == EXIT_RETRY:
            raise
        first, last = error.batch or (at, end - 1)
        found.unreadable.append((first, last))
        found.reasons.append(str(error))
        return last + 1
    return end
