"""Records of files that were read before: for windows that are rebuilt after a start, or for an operator who looks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from monitor.record import RecordSettings
from monitor.sources.base import Batch, Key, Rows, Source, SourceError
from monitor.sources.batches import bounds, part
from monitor.sources.files import EXIT_OPERATOR, FileSettings, topic
from monitor.sources.jsonl import JsonlSource
from monitor.sources.known import Known, Turn

_EMPTY_POLLS = 100
_LOOK_SECONDS = 0.02


class Earlier:
    """The files of an input, from any record on that is still needed.

    Attributes:
        known: what the checkpoint knows of them.
    """

    def __init__(
        self,
        settings: FileSettings,
        record: RecordSettings,
        features: Sequence[str] | None,
        known: Known,
        folder: Path,
    ) -> None:
        """Set up.

        Args:
            settings: which files, and of which kind.
            record: where the fields of a record lie.
            features: names of the features.
            known: what the checkpoint knows of them; as it is whenever something is read.
            folder: the directory of the checkpoint, for messages.
        """
        self._settings, self._record, self._features = settings, record, features
        self.known, self._folder = known, folder

    def again(self, key: Key, begin: int, end: int) -> Iterator[list[Batch | Rows]]:
        """Yield records of a partition.

        Raises:
            SourceError: if they are not there any more.
        """
        if begin >= end:
            return
        source, empty, at = self.open(begin), 0, begin
        try:
            while at < end:
                found = source.poll(_LOOK_SECONDS)
                empty = 0 if found else empty + 1
                if not found and (source.exhausted or empty > _EMPTY_POLLS):
                    message = (
                        f"{self._settings.paths[-1]}: the state in {self._folder} needs the records from {begin}"
                        f" to {end}, but they end at {at}: put the file back, or delete that directory to begin anew"
                    )
                    raise SourceError(message, EXIT_OPERATOR)
                mine = [part(each, begin, end) for each in found if (each.topic, each.partition) == key]
                at = max([at, *(bounds(each)[1] + 1 for each in mine if len(each))])
                yield [each for each in mine if len(each)]
        finally:
            source.close()

    def open(self, begin: int) -> Source:
        """Open the input at a record or before it."""
        turns, paths, settings = self.known.turns, list(self._settings.paths), self._settings
        if not turns or (len(turns) == 1 and turns[0].first == 0):  # it was never replaced
            return settings.build(self._record, self._features)
        numbered = self.known.numbered
        first = max((at for at, turn in enumerate(turns) if turn.first <= begin), default=0) if numbered else 0
        chain = [*(self._find(turn) for turn in turns[first:-1]), paths[-1]]
        count = turns[first].first
        if count == 0:
            chain = [*paths[:-1], *chain]
        source = settings.model_copy(update={"path": tuple(chain)}).build(self._record, self._features)
        if isinstance(source, JsonlSource):
            source.count_from(topic(paths), count)
        return source

    def _find(self, turn: Turn) -> str:
        """Return the path of a file that was moved away.

        Raises:
            SourceError: if it is gone.
        """
        path = Path(self._settings.paths[-1])
        current = self.known.turns[-1]
        if (turn.device, turn.inode) != (current.device, current.inode):  # a file that was emptied has none of it left
            with os.scandir(path.parent) as folder:
                for each in folder:
                    if each.inode() == turn.inode and each.is_file() and each.stat().st_dev == turn.device:
                        return each.path
        message = (
            f"{path}: the state in {self._folder} needs records of the file that had this name before it was"
            " rotated, and that one is gone: put it back uncompressed, or delete that directory to begin anew"
        )
        raise SourceError(message, EXIT_OPERATOR)
