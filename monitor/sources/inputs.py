"""Bytes of one file, pipe or standard input, never waited for longer than asked."""

from __future__ import annotations

import os
import select
import stat
import time
from typing import Protocol

from monitor.sources.compression import Compressed, is_compressed
from monitor.sources.files import STDIN, failed

CHUNK = 1 << 20
"""Bytes read at a time: some ten thousand records."""

_PAUSE = 0.05
"""Seconds between two looks at the end of a followed file; the operating system has no event for it."""


class Input(Protocol):
    """Where bytes come from.

    Attributes:
        renewals: how often a followed file was replaced or emptied, and is read from its beginning since.
    """

    renewals: int

    def read(self, timeout: float) -> bytes | None:
        """Return what is there, empty at the end of the input, None if nothing came within `timeout` seconds."""

    def close(self) -> None:
        """Let go of it. May be called twice."""


class Pipe:
    """Standard input, or a named pipe: what has arrived is returned at once."""

    renewals = 0

    def __init__(self, path: str, descriptor: int) -> None:
        """Take the open descriptor."""
        self._path, self._descriptor = path, descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._ended = False

    def read(self, timeout: float) -> bytes | None:
        """Wait at most `timeout` seconds for bytes; with some in hand, take what else is there, but do not wait."""
        data = bytearray()
        while not self._ended and len(data) < CHUNK and self._poll.poll(0 if data else timeout * 1_000):
            try:
                piece = os.read(self._descriptor, CHUNK)
            except BlockingIOError:
                break
            except OSError as error:
                raise failed(self._path, error) from error
            self._ended = not piece  # kept, since a terminal reports its end only once
            data += piece
        return bytes(data) if data or self._ended else None

    def close(self) -> None:
        """Close a named pipe; standard input is not ours to close."""
        if self._path != STDIN and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class File:
    """A regular file; with `follow` it has no end.

    A followed file that is replaced or emptied (log rotation) is read on from the beginning of the new one: waiting
    at the end of the old one would be a silent stop.
    """

    def __init__(self, path: str, descriptor: int, *, follow: bool) -> None:
        """Take the open descriptor."""
        self._path, self._descriptor, self._follow = path, descriptor, follow
        self.renewals = 0

    def read(self, timeout: float) -> bytes | None:
        """Return the next bytes; at the end of a followed file, wait at most `timeout` seconds for more."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                renewed = self._follow and self._renewed()  # asked before reading: what is older than this comes first
                data = os.read(self._descriptor, CHUNK)
                if data or not self._follow:
                    return data
                if renewed:
                    old, self._descriptor = self._descriptor, os.open(self._path, os.O_RDONLY)
                    os.close(old)
                    self.renewals += 1
                    return b"\n"  # ends the last line of the old file
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                time.sleep(min(_PAUSE, left))
        except OSError as error:
            raise failed(self._path, error) from error

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of what is read at present."""
        found = os.fstat(self._descriptor)
        return found.st_dev, found.st_ino

    def _renewed(self) -> bool:
        try:
            now = os.stat(self._path)  # noqa: PTH116 - beside os.fstat, to be compared with it
        except FileNotFoundError:
            return False  # moved away; the new one comes
        old = os.fstat(self._descriptor)
        position = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        return (now.st_dev, now.st_ino) != (old.st_dev, old.st_ino) or now.st_size < position

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Archive:
    """A compressed file, decompressed."""

    renewals = 0

    def __init__(self, path: str, descriptor: int) -> None:
        """Take the open descriptor."""
        self._path, self._file = path, os.fdopen(descriptor, "rb")
        self._bytes = Compressed(path, self._file)

    def read(self, timeout: float = 0.0) -> bytes | None:
        """Return the next bytes; there is never a wait."""
        del timeout
        try:
            return self._bytes.read(CHUNK)
        except OSError as error:
            raise failed(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_input(path: str, *, follow: bool = False) -> Input:
    """Open a path.

    Args:
        path: a file, compressed if its name says so; a named pipe; `-` = standard input.
        follow: whether a regular file is waited on at its end.

    Raises:
        SourceError: if it cannot be opened.
    """
    try:
        # O_NONBLOCK: to open a named pipe would otherwise wait for its writer, however long. Files do not mind.
        descriptor = 0 if path == STDIN else os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError as error:
        raise failed(path, error) from error
    if is_compressed(path):
        return Archive(path, descriptor)
    return File(path, descriptor, follow=follow and path != STDIN) if regular else Pipe(path, descriptor)
