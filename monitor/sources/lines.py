"""Lines of files, one file after another: what the sources of text share."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence

from monitor.sources.base import Batch, Rows, Source, SourceError
from monitor.sources.compression import is_compressed
from monitor.sources.files import STDIN, check, topic
from monitor.sources.inputs import CHUNK, File, open_input

VALUE_LIMIT = 1 << 16
"""Longest value of a record in bytes; a longer one is handed on as its first `VALUE_LIMIT + 1` bytes."""

LINE_LIMIT = CHUNK
"""Longest line kept in bytes, so that a line without an end fills no memory; of a longer one the rest is dropped."""


class Lines:
    """The lines of one file, without those that are blank.

    Raises:
        SourceError: from the constructor and `read` if the file cannot be read.
    """

    def __init__(self, path: str, *, follow: bool = False) -> None:
        """Open the file; see `open_input`."""
        self.path = path
        self.ended = False
        self._input = open_input(path, follow=follow)
        self._rest = bytearray()  # the line that has no end yet

    def read(self, timeout: float) -> list[bytes]:
        """Return the lines that have arrived, waiting at most `timeout` seconds for the first.

        A line has no end of line, and may be cut at `LINE_LIMIT` + 1 bytes. The last line of a file needs no end of
        line. None come at the end (`ended`), if none came in time, or where a followed file was replaced: lines of the
        old one and of the new one never come together.
        """
        deadline = time.monotonic() + timeout
        renewals = self._input.renewals
        while not self.ended:
            chunk = self._input.read(max(0.0, deadline - time.monotonic()))
            if chunk is None:
                break
            if not chunk:
                self.ended = True
                chunk = b"\n"
            lines = self._split(chunk)
            if lines:
                return lines
            if time.monotonic() >= deadline or self._input.renewals != renewals:
                break
        return []

    @property
    def turn(self) -> tuple[int, int, int] | None:
        """Of a regular file: how often it was replaced, and device and inode of what is read at present."""
        return (self._input.renewals, *self._input.identity) if isinstance(self._input, File) else None

    def _split(self, chunk: bytes) -> list[bytes]:
        """Take the lines that `chunk` completes."""
        lines = chunk.split(b"\n")
        self._rest += lines[0][: LINE_LIMIT + 1 - len(self._rest)]
        if len(lines) == 1:
            return []
        lines[0] = bytes(self._rest)
        self._rest = bytearray(lines.pop()[: LINE_LIMIT + 1])
        if b"\r" in chunk or b"\r" in lines[0]:
            lines = [line.removesuffix(b"\r") for line in lines]
        return [line for line in lines if line and not line.isspace()]

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._input.close()


class LineSource(Source):
    """Files of lines, read one after another as one input."""

    def __init__(self, paths: Sequence[str], *, follow: bool = False) -> None:
        """Look at all files, open none yet.

        Args:
            paths: files in order.
            follow: whether the last of them is waited on at its end.

        Raises:
            SourceError: if a file cannot be read, or a compressed one shall be followed.
        """
        for path in paths:
            check(path)
        if follow and paths[-1] != STDIN and is_compressed(paths[-1]):
            message = f"{paths[-1]}: a compressed file cannot be followed: decompress it, or leave out source.follow"
            raise SourceError(message)
        self._topic = topic(paths)
        self._waiting = list(paths)
        self._follow = follow
        self._lines: Lines | None = None

    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Wait at most `timeout` seconds for lines of the current file, or of the next."""
        deadline = time.monotonic() + timeout
        while (lines := self._current()) is not None:
            taken = lines.read(max(0.0, deadline - time.monotonic()))
            batches = self._take(taken) if taken else []
            if batches:
                return batches
            if not taken and not lines.ended:
                break
        return []

    def _current(self) -> Lines | None:
        """Return the open file, or open the next."""
        if self._lines is not None and self._lines.ended:
            self._lines.close()
            self._lines = None
        if self._lines is None and self._waiting:
            path = self._waiting.pop(0)
            self._lines = Lines(path, follow=self._follow and not self._waiting)
            self._begin(path)
        return self._lines

    @property
    def turn(self) -> tuple[int, int, int] | None:
        """See `Lines.turn`; of the last file, None before it is open."""
        return None if self._lines is None or self._waiting else self._lines.turn

    @abstractmethod
    def _begin(self, path: str) -> None:
        """Prepare for the first line of a file."""

    @abstractmethod
    def _take(self, lines: list[bytes]) -> list[Batch | Rows]:
        """Make batches of lines of the current file, at least one line."""

    @property
    def exhausted(self) -> bool:
        """True when the last file has come to its end."""
        return not self._waiting and (self._lines is None or self._lines.ended)

    def close(self) -> None:
        """Close the open file; the ones that wait are not opened any more."""
        self._waiting.clear()
        if self._lines is not None:
            self._lines.close()
            self._lines = None
