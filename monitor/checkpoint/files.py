"""Files, as a checkpoint needs them: told from one another, and on disk when a function returns."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from monitor.state import StateError

EXIT_RETRY, EXIT_FENCED, EXIT_OPERATOR = 1, 75, 78
HEAD_BYTES = 4_096
"""So many bytes at a file's beginning tell it from another one."""


class CheckpointError(StateError):
    """The directory cannot be used; the message names it and what to do.

    Attributes:
        status: 1 a retry may help, 75 another process has it, 78 an operator must act.
    """

    def __init__(self, message: str, status: int = EXIT_OPERATOR) -> None:
        """Keep the message and the status."""
        super().__init__(message)
        self.status = status


class Place(msgspec.Struct, gc=False):
    """A file as it is: what tells it from another one, and its length."""

    path: str
    device: int
    inode: int
    size: int

    def same(self, other: Place) -> bool:
        """Return whether it is the same file, whatever its name and length."""
        return (self.device, self.inode) == (other.device, other.inode)


def place_of(path: str) -> Place:
    """Look at a file.

    Raises:
        OSError: if there is none.
    """
    found = os.stat(path)  # noqa: PTH116 - inode and length are what is asked for
    return Place(path, found.st_dev, found.st_ino, found.st_size)


def head_of(path: str, length: int = HEAD_BYTES) -> tuple[int, str]:
    """Return how many bytes of a file's beginning there are, up to `length`, and their hash.

    Raises:
        OSError: if it cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(length)
    return len(head), hashlib.sha256(head).hexdigest()


def is_regular(path: str) -> bool:
    """Return whether a path is a regular file; one that cannot be looked at is none."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - as for all paths here
    except OSError:
        return False


@contextmanager
def said(what: str) -> Iterator[None]:
    """Turn an error of the operating system into one readable line about `what`."""
    try:
        yield
    except OSError as error:
        status = EXIT_OPERATOR if isinstance(error, PermissionError | NotADirectoryError) else EXIT_RETRY
        message = f"{what}: cannot be read or written: {error.strerror or error}: make room, or name another place"
        raise CheckpointError(message, status) from None


def append(path: Path, data: bytes | bytearray) -> None:
    """Append to a file and bring it to disk; it is made if it is not there."""
    _put(path, data, os.O_APPEND)


def write(path: Path, data: bytes) -> None:
    """Write a file anew and bring it to disk."""
    _put(path, data, os.O_TRUNC)


def truncate(path: Path, size: int) -> None:
    """Cut a file off, and bring that to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Bring the names in a directory to disk, where the file system knows such a thing."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _put(path: Path, data: bytes | bytearray, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
