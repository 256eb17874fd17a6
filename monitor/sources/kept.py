"""Files whose position and state are kept in a directory, so that a start goes on where the last run ended.

It reads any kind of file by that kind's own source, and drops the records below the committed position: so a position
is an offset, whatever the kind, compressed or not. `kill -9` at any instant and a start give the outputs of a run that
was not interrupted.

A followed file that is replaced while it is read (log rotation) is gone on with as before; each file in the row is
remembered by its inode (a *turn*), and found again by it under another name in the same directory, for as long as a
restore needs its records. A file that was replaced while nobody read it is refused: what came between is not known.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from monitor.checkpoint import CheckpointError, Folder, head_of, place_of
from monitor.message import Message
from monitor.record import RecordSettings
from monitor.sources.base import Batch, Gained, Key, Output, Rows, Source, SourceError
from monitor.sources.batches import bounds, part
from monitor.sources.earlier import Earlier
from monitor.sources.files import FileSettings
from monitor.sources.jsonl import JsonlSource
from monitor.sources.known import InputFile, Turn, recognized
from monitor.state import StateSettings, StateStore

log = structlog.get_logger(__name__)

_END = 2**63 - 1


class Kept(Source):
    """See the module."""

    def __init__(
        self,
        settings: FileSettings,
        record: RecordSettings,
        features: Sequence[str] | None,
        folder: Path,
        outputs: Sequence[Output],
    ) -> None:
        """Open the directory, bring the outputs back to where it stands, and open the input.

        Args:
            settings: which files, and of which kind.
            record: where the fields of a record lie.
            features: names of the features.
            folder: the directory.
            outputs: where events and dead letters go.

        Raises:
            SourceError: if one of them cannot be used, or the input is another one (status 78).
        """
        self._settings = settings
        self._follow = bool(getattr(settings, "follow", False))
        self._held: list[Batch | Rows] = []
        try:
            self._folder = Folder(folder)
        except CheckpointError as error:
            raise SourceError(str(error), error.status) from None
        try:
            self._known = recognized(settings, self._folder)
            inexact = [f"{name} cannot be cut off" for name, file in outputs if file is None]
            files = [file for _, file in outputs if file is not None]
            inexact += self._folder.begin(files, msgspec.json.encode(self._known))
            self._begin = self._folder.positions
            self._earlier = Earlier(settings, record, features, self._known, folder)
            self._inner = self._earlier.open(min(self._begin.values(), default=0))
        except CheckpointError as error:
            self._folder.close()
            raise SourceError(str(error), error.status) from None
        except BaseException:
            self._folder.close()
            raise
        self._turn: tuple[int, int, int] | None = None
        self._gained = {key: Gained(offset, recorded=True) for key, offset in self._begin.items()}
        self._seen, self._released = set(self._begin), set[Key]()
        if inexact:
            log.warning("at_least_once", reason="; ".join(inexact), what="events may come again")
        at = {f"{topic}-{number}": offset for (topic, number), offset in self._begin.items()}
        log.info("resuming" if at else "beginning", state=str(folder), **({"at": at} if at else {}))

    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Return new records of the partitions that were released."""
        if self._held:
            ready = [each for each in self._held if _key(each) in self._released]
            self._held = [each for each in self._held if _key(each) not in self._released]
            return ready
        deadline = time.monotonic() + timeout
        while True:
            found = self._inner.poll(max(0.0, deadline - time.monotonic()))
            self._note_turn()
            fresh = [part(each, self._begin.get(_key(each), 0), _END) for each in found]
            fresh = [each for each in fresh if len(each)]
            for each in fresh:
                if _key(each) not in self._seen:
                    self._seen.add(_key(each))
                    self._gained[_key(each)] = Gained(bounds(each)[0], recorded=False)
            self._held = [each for each in fresh if _key(each) not in self._released]
            if fresh or not found or time.monotonic() >= deadline:
                return [each for each in fresh if _key(each) in self._released]

    @property
    def exhausted(self) -> bool:
        """True when the last file has come to its end, and nothing waits for its state."""
        return self._inner.exhausted and not self._held and self._seen == self._released

    def commit(self, positions: Mapping[Key, int], messages: Sequence[Message] = ()) -> bool:
        """Write a checkpoint."""
        self._measure()
        try:
            self._folder.commit(positions, messages, msgspec.json.encode(self._known))
        except CheckpointError as error:
            raise SourceError(str(error), error.status) from None
        turns = self._known.turns
        if len(turns) > 1 and self._known.numbered:
            needed = self._folder.needed
            while len(turns) > 1 and turns[1].first <= needed:
                turns.pop(0)
        return True

    def take_gained(self) -> Mapping[Key, Gained]:
        """Return partitions of earlier runs, and those that have come since."""
        gained, self._gained = self._gained, {}
        return gained

    def release(self, keys: Iterable[Key]) -> None:
        """Let the records of partitions come."""
        self._released.update(keys)

    def again(self, key: Key, begin: int, end: int) -> Iterator[list[Batch | Rows]]:
        """Yield records that were processed before."""
        return self._earlier.again(key, begin, end)

    def store(self, settings: StateSettings) -> StateStore | None:
        """Return the directory."""
        del settings
        return self._folder

    def close(self) -> None:
        """Close the input, and let another process have the directory."""
        self._inner.close()
        self._held.clear()
        self._folder.close()

    def _note_turn(self) -> None:
        """Notice that a followed file was replaced; no poll has records of both."""
        if not self._follow or not isinstance(self._inner, JsonlSource):
            return
        number = self._inner.number
        self._known.numbered = self._known.numbered and number is not None
        turn = self._inner.turn
        if turn is None or turn == self._turn:
            return
        if not self._known.turns:
            self._known.turns.append(Turn(turn[1], turn[2], 0))
        elif self._turn is not None:
            self._known.turns.append(Turn(turn[1], turn[2], number or 0))
            log.warning("input_renewed", path=self._settings.paths[-1], record=number)
        self._turn = turn

    def _measure(self) -> None:
        """Note how long a followed file is by now."""
        if not self._follow or not self._known.turns:
            return
        turn, last = self._known.turns[-1], self._known.files[-1]
        try:
            place = place_of(last.path)
            if (place.device, place.inode) == (turn.device, turn.inode):
                self._known.files[-1] = InputFile(last.path, place.size, *head_of(last.path))
        except OSError:
            return  # moved away a moment ago: what was known of it stays


def _key(batch: Batch | Rows) -> Key:
    return batch.topic, batch.partition
