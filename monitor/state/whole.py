"""A partition's state as a log of its own that begins here: images of everything, and META.

It needs nothing that was written before, and no input: windows stand where the offset does. So it can be kept outside
of Kafka (`snapshot`), and written behind a log that is not to be read any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from monitor.message import Message
from monitor.pipeline import Partition
from monitor.state.entry import Entry, Meta
from monitor.state.log import StateLog, Writer
from monitor.state.stages import Generation
from monitor.state.store import META_KEY

_NEVER = float("inf")
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Whole:
    """What there is to say of a partition that stands still.

    Attributes:
        partition: its streams, up to `offset`.
        offset: next input offset.
        meta: what META said before; its histories, versions and input go on.
        stages: generations of the stages.
    """

    partition: Partition
    offset: int
    meta: Meta
    stages: Mapping[str, Generation]

    def messages(self, topic: str, pending: Callable[[Partition], int], position: int = 0) -> list[Message]:
        """Return the messages of the log, META last.

        Args:
            topic: the topic that they carry.
            pending: counts the records of the partition that wait.
            position: where in the log the first of them comes, or before.
        """
        return self.log(topic, pending, position).all()

    def log(self, topic: str, pending: Callable[[Partition], int], position: int = 0) -> _WholeLog:
        """Return what writes the log, the arguments as of `messages`; all that it says first is images."""
        meta = self.meta
        before = msgspec.structs.replace(meta, log=position, turn=position, cycle=0, swept=0, deltas=0)
        writer = Writer(meta.model, meta.configs[-1][0], meta.versions, meta.input)
        return _WholeLog(
            self.partition,
            topic,
            self.offset,
            writer=writer,
            stages=self.stages,
            pending=pending,
            sweep_records=1,
            sweep_seconds=_NEVER,
            position=position,
            before=before,
            anew=True,
        )


class _WholeLog(StateLog):
    """A log that is written at one go."""

    def all(self) -> list[Message]:
        """Return all images and META."""
        self._partition.changes.take()
        entries = [entry for bucket in range(self._buckets) for entry in self._image(bucket, self._next)]
        entries.append((META_KEY, Entry(meta=self.meta())))
        return [Message(self._topic, key, _encode(entry), (), self._partition.number) for key, entry in entries]
