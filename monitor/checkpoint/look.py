"""The directory as its last checkpoint left it: to be read, also while a process has it and goes on.

A checkpoint is put in its place by a rename, and a file of the log is only appended to, until it is removed. So what
one checkpoint names is all there, if its files are open before they go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from monitor.checkpoint.files import CheckpointError, Place, said
from monitor.checkpoint.journal import Journal, Segment, damaged
from monitor.state import StateError, StateStore, read_meta
from monitor.state.store import Key

FORMAT = 1
CHECKPOINT = "checkpoint.json"

_TRIES = 5  # a log's file may be removed between the checkpoint and its opening, but only once in megabytes


class Stand(msgspec.Struct, gc=False):
    """Where a partition stands: its next input offset, the next position in its log, and the newest META."""

    topic: str
    partition: int
    offset: int
    end: int
    meta: bytes = b""


class Checkpoint(msgspec.Struct, kw_only=True, gc=False):
    """What `checkpoint.json` says; `input` is the source's own."""

    format: int = FORMAT
    input: msgspec.Raw = msgspec.Raw(b"null")
    partitions: list[Stand] = []
    outputs: list[Place] = []
    log: list[Segment] = []


class Look(StateStore):
    """The directory, read and never changed.

    Attributes:
        path: where it is.
        found: the checkpoint that was there, None at a first start.
    """

    def __init__(self, path: Path) -> None:
        """Read the checkpoint, and open what it names.

        Raises:
            CheckpointError: if it cannot be read, or is damaged.
        """
        self.path = path
        for _ in range(_TRIES):
            self._take(checkpoint_of(path))
            with said(f"state.path {path}"):
                if self._journal.hold():
                    return
        what = "files of its log are missing"
        raise damaged(path, what)

    @property
    def positions(self) -> dict[Key, int]:
        """The committed positions."""
        return {key: stand.offset for key, stand in self._stands.items()}

    def topic(self, topic: str) -> str:
        """Return the input topic itself: that is how entries name their partition."""
        return topic

    def ends(self, keys: Iterable[Key]) -> Mapping[Key, int]:
        """Return the end of each log."""
        return {key: self._stands[key].end if key in self._stands else 0 for key in keys}

    def newest(self, key: Key, end: int) -> bytes | None:
        """Return the newest META, which the checkpoint itself has."""
        del end
        stand = self._stands.get(key)
        return None if stand is None else stand.meta or None

    def read(self, key: Key, begin: int, end: int) -> Iterator[Sequence[bytes]]:
        """Yield the entries' values."""
        return self._journal.read(key, begin, end)

    def close(self) -> None:
        """Close what is open. May be called twice."""
        self._journal.release()

    def _take(self, found: Checkpoint | None) -> None:
        """Take what a checkpoint says."""
        self.found = found
        known = found or Checkpoint()
        self._stands = {(each.topic, each.partition): each for each in known.partitions}
        self._journal = Journal(self.path, known.log)


def checkpoint_of(folder: Path) -> Checkpoint | None:
    """Return the checkpoint of a directory, None if there is none.

    Raises:
        CheckpointError: if it cannot be read, is damaged, or of another format.
    """
    path = folder / CHECKPOINT
    with said(f"state.path {folder}"):
        if not path.exists():
            return None
        text = path.read_bytes()
    try:
        version = bytes(msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("format", b""))
        if version.isdigit() and int(version[:9]) != FORMAT:
            message = (
                f"state.path {folder}: has format {int(version[:9])}, and this version reads {FORMAT}:"
                " run the version that wrote it"
            )
            raise CheckpointError(message)
        found = msgspec.json.decode(text, type=Checkpoint)
        for stand in found.partitions:
            if stand.meta:
                read_meta(stand.meta)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, StateError) as error:
        what = f"{CHECKPOINT}: {error}"
        raise damaged(folder, what) from None
    return found
