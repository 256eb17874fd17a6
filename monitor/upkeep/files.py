"""The state of an input of files: the directory in which it is, and the files behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from monitor.checkpoint import CheckpointError, Look
from monitor.config import Config
from monitor.fleets import AnyEngine
from monitor.sources.base import Batch, Key, Rows, SourceError
from monitor.sources.earlier import Earlier
from monitor.sources.files import FileSettings
from monitor.sources.known import recognized
from monitor.upkeep.reading import EXIT_OPERATOR, Reader, Stands


class StateFiles:
    """The directory of a configuration, as its last checkpoint left it; a process that has it goes on.

    Attributes:
        store: the logs.
    """

    def __init__(self, config: Config) -> None:
        """Read the checkpoint.

        Raises:
            SourceError: if no state is kept, there is none yet, or it cannot be read.
        """
        assert isinstance(config.source, FileSettings)  # noqa: S101 - for the type checker; the caller has looked
        self._config, self._source = config, config.source
        if config.state.type == "none" or config.source.pipe is not None:
            why = "state.type is none" if config.state.type == "none" else "a pipe cannot be read again"
            message = f"state: no state is kept: {why}"
            raise SourceError(message, EXIT_OPERATOR)
        try:
            self.store = Look(config.state.folder)
        except CheckpointError as error:
            raise SourceError(str(error), error.status) from None
        if self.store.found is None:
            message = f"state.path {self.store.path}: there is no state in it"
            raise SourceError(message, EXIT_OPERATOR)

    def __enter__(self) -> Self:
        """Use it for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what is open."""
        self.store.close()

    @property
    def told(self) -> dict[str, str]:
        """What it is the state of, for a program."""
        return {"state": str(self.store.path)}

    def keys_of(self, topic: str | None = None) -> list[Key]:
        """Return the partitions of which something is known; `topic` chooses those of one input.

        Raises:
            SourceError: if there is no such input.
        """
        keys = sorted(self.store.positions)
        names = sorted({key[0] for key in keys})
        if topic is not None and topic not in names:
            message = f"--topic {topic}: is none of the inputs that are known ({', '.join(names)})"
            raise SourceError(message, 2)
        return [key for key in keys if topic in {None, key[0]}]

    def stands(self, keys: Sequence[Key]) -> Mapping[Key, Stands]:
        """Return where partitions of the input stand; where it ends is found out by reading it alone."""
        return {key: Stands(self.store.positions[key], None) for key in keys}

    def reading(self, engine: AnyEngine) -> Reader:
        """Return what builds partitions from the logs, with the model and the settings of an engine."""

        def again(key: Key, begin: int, end: int) -> Iterator[Sequence[Batch | Rows]]:
            known = recognized(self._source, self.store)
            record, folder = self._config.record, self.store.path
            yield from Earlier(self._source, record, engine.features, known, folder).again(key, begin, end)

        return Reader(engine, self.store, again)
