"""The directory: positions, the log of the state and the lengths of outputs, committed together by one rename."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from monitor.checkpoint.files import (
    EXIT_FENCED,
    CheckpointError,
    Place,
    is_regular,
    place_of,
    said,
    sync_folder,
    truncate,
    write,
)
from monitor.checkpoint.journal import Entry
from monitor.checkpoint.look import CHECKPOINT, Checkpoint, Look, Stand, checkpoint_of
from monitor.message import Message
from monitor.state import META_KEY, read_meta
from monitor.state.store import Key

_NEW, _LOCK = "checkpoint.new", "lock"


class Folder(Look):
    """The directory, as the one process that has it sees it.

    Attributes:
        path: where it is.
        found: the checkpoint that was there, None at a first start.
    """

    def __init__(self, path: Path) -> None:
        """Open it; it is made if it is not there. Nothing in it is changed before `begin`.

        Raises:
            CheckpointError: if it cannot be used, is damaged, or another process has it.
        """
        self.path = path
        self._outputs: Sequence[str] = ()
        with said(f"state.path {path}"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._alone()
            self._take(checkpoint_of(path))
        except BaseException:
            self.close()
            raise

    def begin(self, outputs: Sequence[str], source: bytes) -> list[str]:
        """Bring log and outputs to what the checkpoint says, and write a new one.

        Args:
            outputs: the files that events and dead letters are appended to.
            source: what the source says of its input, as JSON.

        Returns:
            What of the outputs is not as the checkpoint left it.

        Raises:
            CheckpointError: if that is not possible.
        """
        with said(f"state.path {self.path}"):
            self._journal.begin()
        inexact = self._bring_back(outputs)
        self._outputs = [path for path in outputs if is_regular(path)]
        self._write(source)
        return inexact

    def commit(self, positions: Mapping[Key, int], messages: Sequence[Message], source: bytes) -> None:
        """Write a checkpoint: positions, state, and the outputs as long as they are now.

        Args:
            positions: next offset by partition.
            messages: entries of the logs; each names its partition.
            source: what the source says of its input, as JSON.

        Raises:
            CheckpointError: if it cannot be written. Whether it counts, the next start finds out.
        """
        for key, offset in positions.items():
            self._stands.setdefault(key, Stand(*key, offset, 0)).offset = offset
        entries = []
        for message in messages:
            stand = self._stands[message.topic, message.partition or 0]
            entries.append(Entry(stand.topic, stand.partition, stand.end, message.value or b""))
            stand.end += 1
            if message.key == META_KEY:
                stand.meta = message.value or b""
        for key in positions:
            self._stands[key].end += 1  # as the marker of a transaction takes a place in a topic
        with said(f"state.path {self.path}"):
            self._journal.append(entries)
        self._write(source)

    @property
    def needed(self) -> int:
        """The lowest input offset that a restore reads; 0 where it is not known."""
        stands = [min(s.offset, read_meta(s.meta).needed) if s.meta else 0 for s in self._stands.values()]
        return min(stands, default=0)

    def close(self) -> None:
        """Let another process have it. May be called twice."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _alone(self) -> None:
        """Keep other processes out for as long as this one lives."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            message = f"state.path {self.path}: another process has it: stop that one, or give each its own"
            raise CheckpointError(message, EXIT_FENCED) from None

    def _write(self, source: bytes) -> None:
        """Write the checkpoint, and remove the files of the log that are not needed any more."""
        dropped: list[str] = []
        if len(self._journal.segments) > 1:
            metas = {key: read_meta(stand.meta) for key, stand in self._stands.items() if stand.meta}
            dropped = self._journal.drop({key: meta.log for key, meta in metas.items()})
        checkpoint = Checkpoint(
            input=msgspec.Raw(source),
            partitions=list(self._stands.values()),
            outputs=[_present(path) for path in self._outputs],
            log=self._journal.segments,
        )
        with said(f"state.path {self.path}"):
            write(self.path / _NEW, msgspec.json.encode(checkpoint))
            os.replace(self.path / _NEW, self.path / CHECKPOINT)  # noqa: PTH105 - the instant at which all of it counts
            sync_folder(self.path)
            self._journal.remove(dropped)

    def _bring_back(self, outputs: Sequence[str]) -> list[str]:
        """Cut the outputs off where the checkpoint says; return what is not as it left it."""
        inexact: list[str] = []
        known = {place.path: place for place in self.found.outputs} if self.found is not None else {}
        for path in outputs:
            before, there = known.get(path), Path(path).exists()
            if not there:
                with suppress(OSError):  # whoever writes to it says it better
                    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
            if not is_regular(path):
                inexact.append(f"{path} is no file")
            elif before is not None:
                now = place_of(path)
                if not there or not now.same(before) or now.size < before.size:
                    inexact.append(f"{path} was moved or emptied")
                elif now.size > before.size:
                    with said(path):
                        truncate(Path(path), before.size)
        return inexact


def _present(path: str) -> Place:
    """Return an output as it is; one that was moved away a moment ago is nowhere, and counts as rotated."""
    try:
        return place_of(path)
    except OSError:
        return Place(path, 0, 0, 0)
