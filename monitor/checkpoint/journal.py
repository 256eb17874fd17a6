"""The log of the state as files that are only appended to; those that no restore needs any more are removed.

An entry is its length, its CRC-32 and its bytes in MessagePack. What lies behind the length that the checkpoint names
was never committed. Nothing is ever executed or unpickled.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from monitor.checkpoint.files import CheckpointError, append, said, sync_folder, truncate
from monitor.state.store import Key

SEGMENT_BYTES = 16_000_000
"""A file of the log is not appended to any more once it is so large."""

_FRAME = 8  # bytes before an entry: its length and its CRC-32
_SLICE = 1_000_000
_NAME = "state-"


class Segment(msgspec.Struct, gc=False):
    """A file of the log: its name, its length, and the last position in it of each partition."""

    name: str
    size: int
    last: list[tuple[str, int, int]]


class Entry(msgspec.Struct, array_like=True, gc=False):
    """An entry of a partition's log: which partition, the position in its log, and the value."""

    topic: str
    partition: int
    position: int
    value: bytes


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Entry).decode


class Journal:
    """The files of the log in a directory.

    Attributes:
        segments: as the next checkpoint names them.
    """

    def __init__(self, folder: Path, segments: Sequence[Segment]) -> None:
        """Take what the checkpoint names."""
        self._folder = folder
        self._held: dict[str, BinaryIO] = {}
        self.segments = list(segments)

    def begin(self) -> None:
        """Cut off and remove what no checkpoint names.

        Raises:
            CheckpointError: if something that it names is missing.
            OSError: if that is not possible.
        """
        names = {segment.name for segment in self.segments}
        there = {path.name: path.stat().st_size for path in self._folder.iterdir() if path.name.startswith(_NAME)}
        for segment in self.segments:
            if there.get(segment.name, -1) < segment.size:
                what = f"{segment.name} is missing or too short"
                raise damaged(self._folder, what)
            if there[segment.name] > segment.size:
                truncate(self._folder / segment.name, segment.size)
        self.remove(set(there) - names)

    def hold(self) -> bool:
        """Open all files, so that they can be read although another process removes them; False: one is gone.

        Raises:
            OSError: if one cannot be read.
        """
        try:
            for segment in self.segments:
                self._held[segment.name] = (self._folder / segment.name).open("rb")
        except FileNotFoundError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Close what is held. May be called twice."""
        for file in self._held.values():
            file.close()
        self._held.clear()

    def append(self, entries: Iterable[Entry]) -> None:
        """Append entries; they are on disk when this returns.

        Raises:
            OSError: if that is not possible.
        """
        data, last = bytearray(), {}
        for entry in entries:
            value = _encode(entry)
            data += len(value).to_bytes(4, "little") + zlib.crc32(value).to_bytes(4, "little") + value
            last[entry.topic, entry.partition] = entry.position
        if not data:
            return
        if not self.segments or self.segments[-1].size >= SEGMENT_BYTES:
            number = int(self.segments[-1].name.removeprefix(_NAME)) + 1 if self.segments else 0
            self.segments.append(Segment(f"{_NAME}{number}", 0, []))
        segment = self.segments[-1]
        append(self._folder / segment.name, data)
        if segment.size == 0:
            sync_folder(self._folder)
        known = {(topic, number): position for topic, number, position in segment.last}
        segment.last = [(*key, position) for key, position in (known | last).items()]
        segment.size += len(data)

    def drop(self, begins: Mapping[Key, int]) -> list[str]:
        """Let go of files that are older than what a restore reads; return them, to be removed after the checkpoint.

        Args:
            begins: where in its log a restore of each partition begins.
        """
        count = 0
        for segment in self.segments[:-1]:
            if any(position >= begins.get((topic, number), 0) for topic, number, position in segment.last):
                break
            count += 1
        names = [segment.name for segment in self.segments[:count]]
        self.segments = self.segments[count:]
        return names

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        for name in sorted(names):
            (self._folder / name).unlink(missing_ok=True)

    def read(self, key: Key, begin: int, end: int) -> Iterator[list[bytes]]:
        """Yield a partition's values from one position to another, in slices.

        Raises:
            CheckpointError: if a file cannot be read, or is damaged.
        """
        for segment in self.segments:
            last = {(topic, number): position for topic, number, position in segment.last}
            if last.get(key, -1) < begin:
                continue
            for found in self._entries(segment):
                mine = [entry for entry in found if (entry.topic, entry.partition) == key]
                yield [entry.value for entry in mine if begin <= entry.position < end]

    def _entries(self, segment: Segment) -> Iterator[list[Entry]]:
        left, rest = segment.size, b""
        with said(f"state.path {self._folder}"), self._open(segment.name) as file:
            while left:
                data = file.read(min(_SLICE, left))
                if not data:
                    what = f"{segment.name} is too short"
                    raise damaged(self._folder, what)
                left -= len(data)
                entries, rest = self._split(segment.name, rest + data)
                yield entries
        if rest:
            what = f"{segment.name} ends in the middle"
            raise damaged(self._folder, what)

    def _open(self, name: str) -> BinaryIO:
        """Return a file of the log, to be read from its beginning."""
        held = self._held.get(name)
        if held is None:
            return (self._folder / name).open("rb")
        file = os.fdopen(os.dup(held.fileno()), "rb")
        file.seek(0)
        return file

    def _split(self, name: str, data: bytes) -> tuple[list[Entry], bytes]:
        """Return the entries that bytes hold, and the bytes of the one that is not whole."""
        entries, at = [], 0
        while len(data) - at >= _FRAME:
            length = int.from_bytes(data[at : at + 4], "little")
            value = data[at + _FRAME : at + _FRAME + length]
            if len(value) < length:
                break
            if zlib.crc32(value) != int.from_bytes(data[at + 4 : at + _FRAME], "little"):
                what = f"{name} has a wrong checksum"
                raise damaged(self._folder, what)
            try:
                entries.append(_decode(value))
            except msgspec.MsgspecError as error:
                what = f"{name}: {error}"
                raise damaged(self._folder, what) from None
            at += _FRAME + length
        return entries, data[at:]


def damaged(folder: Path, what: str) -> CheckpointError:
    """Return the error of a directory that cannot be trusted."""
    message = f"state.path {folder}: is damaged ({what}): to begin anew, delete it; the alerts then come again"
    return CheckpointError(message)
