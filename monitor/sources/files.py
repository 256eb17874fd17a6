"""Files as input: which they are, what they are called, and whether they can be read at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator

from monitor.sources.base import SourceError, SourceSettings
from monitor.sources.compression import bare

EXIT_OPERATOR = 78
STDIN = "-"
"""The path that means standard input."""


class FileSettings(SourceSettings):
    """What the settings of every source of files share."""

    path: str | tuple[str, ...] = Field(description="file, or files in the order in which they are one input")

    @field_validator("path")
    @classmethod
    def _named(cls, path: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not path or not all(path):
            message = "name at least one file; an empty name is none"
            raise ValueError(message)
        return path

    @property
    def paths(self) -> tuple[str, ...]:
        """The files in order."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @property
    def pipe(self) -> str | None:
        """The first of the files that is none, so that it cannot be read again; None if all can."""
        return next((path for path in self.paths if path == STDIN or is_pipe(path)), None)

    @classmethod
    def recording(cls, paths: Sequence[str], configured: SourceSettings | None = None) -> Self:
        """Return the settings that read the files `paths` once from start to end."""
        del configured
        return cls.model_validate({"path": tuple(paths)})


def topic(paths: Sequence[str]) -> str:
    """Return the topic that files are: the base name of the first, `stdin` for standard input."""
    return "stdin" if paths[0] == STDIN else Path(paths[0]).name


def stem(path: str) -> str:
    """Return the name of a file without its ends: `data/pump-17.csv.gz` is `pump-17`."""
    return "stdin" if path == STDIN else Path(bare(path)).stem


def is_pipe(path: str) -> bool:
    """Return whether a path is there, but is no regular file: what is read of it is gone."""
    return Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir()


def failed(path: str, error: OSError) -> SourceError:
    """Return the one readable line for an error of the operating system."""
    return SourceError(f"{path}: cannot be read: {error.strerror or error}")


def check(path: str) -> None:
    """Look whether a file can be read, so that the last of many does not fail only when its turn comes.

    Raises:
        SourceError: if there is no such file, it is a directory, or permission is denied.
    """
    if path == STDIN:
        return
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a path here may be a pipe's, and the text is what messages show
    except OSError as error:
        raise failed(path, error) from error
    if stat.S_ISDIR(mode):
        message = f"{path}: is a directory: name the files in it"
        raise SourceError(message)
    if not os.access(path, os.R_OK):
        message = f"{path}: cannot be read: Permission denied"
        raise SourceError(message)


def check_twice(paths: Sequence[str]) -> None:
    """Look whether files can be read twice: once for the names of the features, once for the records.

    Raises:
        SourceError: if one cannot be read, or is standard input or another pipe.
    """
    for path in paths:
        check(path)
        if path == STDIN or not Path(path).is_file():
            message = (
                f"{topic([path])}: a pipe cannot be read twice, to find the features first: name them, or read a file"
            )
            raise SourceError(message)
