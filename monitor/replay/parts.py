"""Bytes kept apart by partition until the end: which partition comes first is then no matter of chance."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from monitor.sinks.base import SinkError
from monitor.sources.base import Key


class Parts:
    """A file a partition in a folder that is gone afterwards.

    Attributes:
        folder: the folder; other files of this output may be made in it.
    """

    def __init__(self, target: Path | None) -> None:
        """Make the folder.

        Args:
            target: the file that it all ends in; the folder is made beside it, so that a rename puts it in place.
                None = there is none, the folder is made where temporary files belong.

        Raises:
            SinkError: if the folder cannot be made.
        """
        self._target = target
        beside = None if target is None else target.absolute().parent
        if target is not None and target.is_dir():
            message = f"{target}: is a directory: name a file"
            raise SinkError(message)
        with writing(target):
            self._temporary = tempfile.TemporaryDirectory(prefix=".tidegauge-", dir=beside)
        self.folder = Path(self._temporary.name)
        self._files: dict[Key, Path] = {}

    def file(self, key: Key) -> Path:
        """Return the file of a partition."""
        return self._files.setdefault(key, self.folder / str(len(self._files)))

    def append(self, key: Key, data: bytes) -> None:
        """Add bytes to those of a partition."""
        with writing(self._target), self.file(key).open("ab") as file:
            file.write(data)

    def files(self) -> list[Path]:
        """Return the files, in the order of their partitions."""
        return [self._files[key] for key in sorted(self._files)]

    def copy(self, out: BinaryIO) -> None:
        """Write all of it, partition after partition."""
        for path in self.files():
            with path.open("rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)

    def publish(self, made: Path) -> None:
        """Put a finished file in the folder in the place of the target: whole, or not at all."""
        if self._target is not None:
            with writing(self._target):
                made.chmod(0o644)
                made.replace(self._target)

    def close(self) -> None:
        """Remove the folder and all that is left in it."""
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the folder."""
        self.close()


@contextmanager
def writing(target: Path | None) -> Iterator[None]:
    """Turn what the operating system says while `target` is written into one readable line."""
    try:
        yield
    except BrokenPipeError:
        raise  # nobody reads standard output any more: that has an ending of its own
    except OSError as error:
        message = f"{target or 'standard output'}: cannot be written: {error.strerror or error}"
        raise SinkError(message) from None
