"""Files that settings name: certificates, and secrets, of which nothing ever stands in a message."""

from __future__ import annotations

from pathlib import Path

from monitor.kafka.errors import EXIT_OPERATOR, KafkaProblem

_MOST = 1 << 20
"""Bytes that such a file may have; `/dev/zero` has more."""


def content(setting: str, path: Path) -> bytes:
    """Return the content of a file that a setting names.

    Raises:
        KafkaProblem: if it cannot be read, or is larger than such a file can be.
    """
    try:
        with path.open("rb") as file:
            found = file.read(_MOST + 1)
    except OSError as error:
        message = f"{setting}: {path} cannot be read: {error.strerror}"
        raise KafkaProblem(message, EXIT_OPERATOR) from None
    if len(found) > _MOST:
        message = f"{setting}: {path} is larger than {_MOST} bytes: that is another file"
        raise KafkaProblem(message, EXIT_OPERATOR)
    return found


def secret(setting: str, path: Path) -> str:
    """Return the content of a secret's file without its last line end.

    Raises:
        KafkaProblem: if it cannot be read, or holds no text.
    """
    try:
        found = content(setting, path).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        message = f"{setting}: {path} is not UTF-8"
        raise KafkaProblem(message, EXIT_OPERATOR) from None
    if not found:
        message = f"{setting}: {path} is empty"
        raise KafkaProblem(message, EXIT_OPERATOR)
    return found
