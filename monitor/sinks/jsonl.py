"""JSON Lines: one event a line, appended to a file or written to standard output.

What `deliver` has taken is on disk when it returns (`fsync`), and a line is never torn: a write that fails half-way is
taken back, and a line that a crash left without an end is ended before the next event. A file that was moved away
(logrotate) is made anew.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import Field

from monitor.message import Message
from monitor.sinks.base import Sink, SinkError, SinkSettings

STDOUT = "-"
"""The path that means standard output."""


class Settings(SinkSettings):
    """Events as JSON Lines in a file, or on standard output (`path: -`)."""

    type: Literal["jsonl"] = "jsonl"
    path: str = Field(min_length=1, description="file to append to (its folder must exist), or - for standard output")

    @property
    def file(self) -> str | None:
        """The file; standard output cannot be cut off."""
        return None if self.path == STDOUT else self.path

    def build(self) -> Sink:
        """Open the file; it is made if it is not there.

        Raises:
            SinkError: if it cannot be written, or its folder does not exist.
        """
        return StdoutSink() if self.path == STDOUT else FileSink(self.path)


def _lines(events: Sequence[Message]) -> bytes:
    """Return one line an event; a line break between JSON's tokens (never inside of one) is a space as well."""
    values = [event.value for event in events if event.value is not None]
    return b"".join(value.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n" for value in values)


def _failed(path: str, error: OSError) -> SinkError:
    """Return the one readable line for an error of the operating system."""
    hint = ": make room" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
    return SinkError(f"sink {path}: cannot be written: {error.strerror or error}{hint}")


class StdoutSink(Sink):
    """Standard output: a pipe, a file or a terminal.

    Whatever goes wrong here is the end: what was written in part cannot be taken back, and the reader is another
    program's affair. A file by its name (`path: alerts.jsonl`) is tried again until there is room.
    """

    def deliver(self, events: Sequence[Message]) -> None:
        """Write and flush."""
        try:
            sys.stdout.buffer.write(_lines(events))
            sys.stdout.flush()
            self._sync()
        except BrokenPipeError as error:
            self._silence()
            message = "sink -: nobody reads standard output any longer (broken pipe): start the reader again, too"
            raise SinkError(message, fatal=True) from error
        except OSError as error:
            self._silence()
            message = f"sink -: standard output cannot be written: {error.strerror or error}"
            raise SinkError(message, fatal=True) from error
        except (AttributeError, ValueError) as error:  # None, or closed
            message = "sink -: standard output is closed: name a file"
            raise SinkError(message, fatal=True) from error

    @staticmethod
    def _sync() -> None:
        """Bring to disk what is redirected into a file."""
        try:
            descriptor = sys.stdout.fileno()
        except (OSError, ValueError):
            return  # something that only looks like a file
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)

    @staticmethod
    def _silence() -> None:
        """Let the interpreter's last flush go nowhere, or it would end with a message and a status of its own."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


class FileSink(Sink):
    """A file, or something that can be written like one."""

    def __init__(self, path: str) -> None:
        """Open `path`."""
        self._path = path
        self._file = -1
        self._regular = False
        self._open()

    def deliver(self, events: Sequence[Message]) -> None:
        """Append and bring to disk."""
        lines = _lines(events)
        if not lines:
            return
        try:
            if self._moved():
                self.close()
                self._open()
            self._write(lines)
            if self._regular:
                os.fsync(self._file)
        except OSError as error:
            raise _failed(self._path, error) from error

    def close(self) -> None:
        """Bring to disk and close."""
        file, self._file = self._file, -1
        if file >= 0:
            with suppress(OSError):  # everything delivered is on disk already
                os.close(file)

    def _open(self) -> None:
        folder = Path(self._path).parent
        if not folder.is_dir():
            message = f"sink {self._path}: there is no folder {folder}: make it, or name another file"
            raise SinkError(message)
        new = not Path(self._path).exists()
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
            if self._regular and _torn(self._path):
                self._write(b"\n")
            if new:
                _keep_name(folder)
        except OSError as error:
            self.close()
            raise _failed(self._path, error) from error

    def _moved(self) -> bool:
        """Return whether the name means another file by now, or none, or the sink was closed."""
        if self._file < 0:
            return True
        try:
            named = os.stat(self._path)  # noqa: PTH116 - compared with what an open descriptor says
        except FileNotFoundError:
            return True
        return not os.path.samestat(named, os.fstat(self._file))

    def _write(self, data: bytes) -> None:
        """Write all of it, or nothing."""
        before = os.fstat(self._file).st_size if self._regular else 0
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            if self._regular and len(rest) < len(data):
                with suppress(OSError):
                    os.ftruncate(self._file, before)
            raise


def _torn(path: str) -> bool:
    """Return whether a file's last line has no end; a file that may not be read is taken to be whole."""
    with suppress(OSError), Path(path).open("rb") as file:
        return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
    return False


def _keep_name(folder: Path) -> None:
    """Bring a new file's name to disk, where the file system knows such a thing."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
