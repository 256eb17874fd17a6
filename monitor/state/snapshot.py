"""Snapshots: what is known of some partitions, in a directory.

`snapshot.json` names a file for each partition, with its size and hash. A file holds a whole log (`whole`), entry after
entry: length of the key and length of the value (4 bytes each, little-endian), key, value. Nothing in it is executed;
hashes are checked before anything is read, lengths against the size of the file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from monitor.message import Message
from monitor.state.rows import StateError
from monitor.state.store import META_KEY, Key, StateStore

FORMAT = 1
INDEX = "snapshot.json"

_HEAD = struct.Struct("<II")
_CHUNK = 1 << 20
_SLICE = 200  # entries
_NAME = re.compile(r"[A-Za-z0-9._-]{1,260}\.state")


class Part(msgspec.Struct, forbid_unknown_fields=True):
    """A partition of a snapshot: where it stands, and the file that says so."""

    topic: str
    partition: int
    offset: int
    file: str
    entries: int
    bytes: int
    sha256: str


class _Index(msgspec.Struct):
    """What `snapshot.json` holds."""

    format: int
    partitions: list[Part]


class Snapshot(StateStore):
    """A directory of logs, to be read. A position in a log is the number of entries before it.

    Attributes:
        parts: its partitions.
    """

    def __init__(self, folder: Path) -> None:
        """Read the index, and check the files.

        Raises:
            StateError: if it is none, or damaged.
        """
        self._folder = folder
        path = folder / INDEX
        try:
            index = msgspec.json.decode(path.read_bytes(), type=_Index)
        except OSError as error:
            message = f"{path}: {error.strerror}: name a directory that `tidegauge state export` wrote"
            raise StateError(message) from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            message = f"{path}: is no index of a snapshot ({error})"
            raise StateError(message) from None
        if index.format != FORMAT:
            message = f"{path}: has format {index.format}, and this version reads {FORMAT}"
            raise StateError(message)
        self.parts: dict[Key, Part] = {(part.topic, part.partition): part for part in index.partitions}
        for part in self.parts.values():
            self._check(part)

    def topic(self, topic: str) -> str:
        """Return the topic itself: a snapshot is no topic."""
        return topic

    def ends(self, keys: Iterable[Key]) -> Mapping[Key, int]:
        """Return the number of entries of each partition; 0 for one that is not there."""
        return {key: self.parts[key].entries if key in self.parts else 0 for key in keys}

    def newest(self, key: Key, end: int) -> bytes | None:
        """Return the value of the newest META."""
        found = None
        for number, (name, value) in enumerate(self.entries(key)):
            if number < end and name == META_KEY:
                found = value
        return found

    def read(self, key: Key, begin: int, end: int) -> Iterator[Sequence[bytes]]:
        """Yield the entries' values."""
        values: list[bytes] = []
        for number, (_, value) in enumerate(self.entries(key)):
            if begin <= number < end:
                values.append(value)
            if len(values) == _SLICE:
                yield values
                values = []
        yield values

    def entries(self, key: Key) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values of a partition's log.

        Raises:
            StateError: if they end in the middle.
        """
        if key not in self.parts:
            return
        part = self.parts[key]
        left = part.bytes
        with (self._folder / part.file).open("rb") as file:
            while left:
                head = file.read(_HEAD.size)
                sizes = _HEAD.unpack(head) if len(head) == _HEAD.size else (left, left)
                left -= _HEAD.size + sum(sizes)
                if left < 0:
                    message = f"{self._folder / part.file}: ends within an entry"
                    raise StateError(message)
                yield file.read(sizes[0]), file.read(sizes[1])

    def _check(self, part: Part) -> None:
        """Raise if a file is not what the index says of it."""
        path = self._folder / part.file
        if not _NAME.fullmatch(part.file) or path.is_symlink() or not path.is_file():
            message = f"{path}: is no file of the snapshot"
            raise StateError(message)
        if path.stat().st_size != part.bytes or _sha256(path) != part.sha256:
            message = f"{path}: has another size or hash than {INDEX} says: it is damaged, or was changed"
            raise StateError(message)


class SnapshotWriter:
    """Writes a snapshot; as a context it puts the directory in its place at the end, if all went well."""

    def __init__(self, folder: Path) -> None:
        """Prepare.

        Raises:
            StateError: if there is something already, or nothing can be written there.
        """
        self._folder = folder.absolute()
        if folder.exists() or folder.is_symlink():
            message = f"{folder}: is there already: name a directory that is not"
            raise StateError(message)
        try:
            self._temporary = Path(tempfile.mkdtemp(prefix=".tidegauge-", dir=self._folder.parent))
        except OSError as error:
            message = f"{self._folder.parent}: {error.strerror}"
            raise StateError(message) from None
        self._parts: list[Part] = []

    def add(self, key: Key, offset: int, messages: Iterable[Message]) -> Part:
        """Write the whole log of a partition that stands at `offset`."""
        name = f"{key[0]}-{key[1]}.state"
        path, entries = self._temporary / name, 0
        with path.open("wb") as file:
            for message in messages:
                label, value = message.key or b"", message.value or b""
                file.write(_HEAD.pack(len(label), len(value)) + label + value)
                entries += 1
            file.flush()
            os.fsync(file.fileno())
        part = Part(key[0], key[1], offset, name, entries, path.stat().st_size, _sha256(path))
        self._parts.append(part)
        return part

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Put the directory in its place, or away."""
        if kind is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            return
        index = msgspec.json.format(msgspec.json.encode(_Index(FORMAT, self._parts)), indent=2)
        with (self._temporary / INDEX).open("wb") as file:
            file.write(index + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._temporary.chmod(0o755)
        self._temporary.rename(self._folder)
        _sync(self._folder.parent)


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _sync(folder: Path) -> None:
    """Make a rename in a folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
