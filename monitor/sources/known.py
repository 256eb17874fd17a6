"""What a checkpoint knows of the files that it belongs to, and whether they are still the same.

A file is known by its first bytes and may only have grown, and that only if it is the last: records are counted through
all files, so what was read must stay what it was. More files may follow the known ones.
"""

from __future__ import annotations

import msgspec

from monitor.checkpoint import Look, head_of, place_of
from monitor.sources.base import SourceError
from monitor.sources.files import EXIT_OPERATOR, FileSettings


class InputFile(msgspec.Struct, gc=False):
    """A file of the input: its length, and the hash of its first bytes."""

    path: str
    size: int
    head_bytes: int
    head: str


class Turn(msgspec.Struct, gc=False):
    """One of the files that a followed name meant in turn, and the number of its first record."""

    device: int
    inode: int
    first: int


class Known(msgspec.Struct, kw_only=True, gc=False):
    """What the checkpoint says of the input."""

    type: str
    files: list[InputFile]
    numbered: bool = True
    turns: list[Turn] = []


def recognized(settings: FileSettings, folder: Look) -> Known:
    """Return what the input is, if it is the one that the checkpoint belongs to.

    Raises:
        SourceError: if not, or if a file cannot be read.
    """
    paths, kind = settings.paths, settings.type
    try:
        now = [InputFile(path, place_of(path).size, *head_of(path)) for path in paths]
    except OSError as error:
        message = f"{error.filename}: cannot be read: {error.strerror}"
        raise SourceError(message) from None
    if folder.found is None:
        return Known(type=kind, files=now)
    try:
        known = msgspec.json.decode(folder.found.input, type=Known)
    except msgspec.MsgspecError as error:
        message = f"state.path {folder.path}: is damaged ({error}): to begin anew, delete it"
        raise SourceError(message, EXIT_OPERATOR) from None
    before = [file.path for file in known.files]
    why = f"belongs to other files ({known.type}: {', '.join(before)})"
    if known.type == kind and before == list(paths[: len(before)]):
        why = _changed(known, now)
    if why:
        message = (
            f"state.path {folder.path}: {why}: put the input back as it was, name another directory (state.path), or"
            " delete this one to begin anew"
        )
        raise SourceError(message, EXIT_OPERATOR)
    return Known(type=kind, files=now, numbered=known.numbered, turns=known.turns)


def _changed(known: Known, now: list[InputFile]) -> str:
    """Return why files of the same names are others; empty if they are the same."""
    for file, found in zip(known.files, now, strict=False):
        if found.size < file.size:
            return f"{file.path} had {file.size} bytes when it was last read, and has {found.size}"
        if head_of(file.path, file.head_bytes) != (file.head_bytes, file.head):
            return f"{file.path} is another file than the one that was read (replaced, or rotated)"
        if file is not known.files[-1] and found.size != file.size:
            return f"{file.path} has changed since it was read to its end"
    if known.turns:
        last, turn = known.files[-1], known.turns[-1]
        place = place_of(last.path)
        if (place.device, place.inode) != (turn.device, turn.inode) or len(now) > len(known.files):
            return f"{last.path} was rotated since it was read, and what came between is not known"
    return ""
