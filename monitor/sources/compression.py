"""`.gz` and `.zst` by name, decompressed as a stream."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import BinaryIO, Protocol

import zstandard

from monitor.sources.base import SourceError

_STEP = 1_024
"""Compressed bytes fed at a time. Zstandard makes at most 32 KiB of a byte: 32 MiB in hand, whatever the file holds."""


class _Decoder(Protocol):
    """One member of a gzip file, or one frame of a Zstandard file."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _gzip() -> _Decoder:
    return zlib.decompressobj(wbits=31)


def _zstd() -> _Decoder:
    return zstandard.ZstdDecompressor().decompressobj()


_DECODERS: dict[str, Callable[[], _Decoder]] = {".gz": _gzip, ".zst": _zstd}


def is_compressed(path: str) -> bool:
    """Say whether a file is compressed, by its name."""
    return path.lower().endswith(tuple(_DECODERS))


def bare(path: str) -> str:
    """Return a path without `.gz` or `.zst` at its end."""
    return path[: path.rindex(".")] if is_compressed(path) else path


class Compressed:
    """The bytes of a compressed file; several members or frames in a row are one."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        """Take the open file; its name says how it is compressed."""
        self._path, self._file = path, file
        self._new = _DECODERS[path[path.rindex(".") :].lower()]
        self._decoder: _Decoder | None = None
        self._left = b""
        self._ready, self._at = b"", 0  # what is decompressed, and how much of it has been read
        self._failure: SourceError | None = None

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end. A bomb is handed on in such pieces, too.

        What could be read before a damage is returned first.

        Raises:
            SourceError: if the file is cut short, damaged, or not what its name says.
            OSError: if the file cannot be read.
        """
        pieces: list[bytes] = []
        have = 0
        while have < size:
            if self._at >= len(self._ready) and not self._refill():
                break
            piece = self._ready[self._at : self._at + size - have]
            self._at += len(piece)
            pieces.append(piece)
            have += len(piece)
        if self._failure is not None and not have:
            raise self._failure
        return b"".join(pieces)

    def _refill(self) -> bool:
        """Decompress the next step; False at the end, or at a damage."""
        if self._failure is not None:
            return False
        try:
            piece = self._piece()
        except (zlib.error, zstandard.ZstdError, EOFError) as error:
            self._failure = SourceError(f"{self._path}: the compressed file is cut short or damaged ({error})")
            return False
        self._ready, self._at = piece or b"", 0
        return piece is not None

    def _piece(self) -> bytes | None:
        """Decompress one step of the file; None at its end."""
        data = self._left or self._file.read(_STEP)
        if not data:
            if self._decoder is None:
                return None
            message = "it ends in the middle"
            raise EOFError(message)
        if self._decoder is None:
            data = data.lstrip(b"\0")  # tapes pad with zeros between and behind members; none begins with one
            if not data:
                self._left = b""
                return b""
            self._decoder = self._new()
        piece = self._decoder.decompress(data[:_STEP])
        self._left = data[_STEP:]
        if self._decoder.eof:
            self._left = self._decoder.unused_data + self._left
            self._decoder = None
        return piece
