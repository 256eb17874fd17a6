"""The crash-loop breaker: a record that kills the process does not stop a partition for ever.

A small local file, the *marker*, says which records are in hand while they are decoded and scored, and what the deaths
before were. Three deaths with the same batch in hand and no commit between: its records are taken one at a time, each
in a transaction of its own. Three more with the same single record in hand: that one becomes a dead letter with reason
`crash`, and no restore decodes it again.

The marker is only there around decoding and scoring: a process that is killed while it waits, publishes or commits has
nothing in hand. A commit ends a batch's count, SIGTERM all of them. It is not brought to disk: it outlives the process,
and needs not outlive the machine. What a source itself decodes (CSV, Parquet, a compressed batch of Kafka) comes before
it; `tidegauge skip` is for that.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from monitor.config import Config
from monitor.sources.base import Batch, Key, Rows
from monitor.sources.batches import bounds, offsets_of, part
from monitor.sources.files import FileSettings

log = structlog.get_logger(__name__)

DEATHS = 3
"""So many deaths with a batch in hand part it, and so many with one record in hand make that a dead letter."""

_END = 2**63 - 1
_SLOTS = 64  # processes with one name on a host: members of a group without static membership
_LARGEST = 1 << 20


class Doubt(msgspec.Struct, array_like=True, gc=False):
    """A batch that was in hand when the process died.

    Attributes:
        topic: its topic.
        partition: its partition.
        first: first offset since the last commit.
        last: last offset.
        deaths: deaths with it in hand.
        single: the record of it that was in hand alone, -1 = none.
        single_deaths: deaths with that.
    """

    topic: str
    partition: int
    first: int
    last: int
    deaths: int = 0
    single: int = -1
    single_deaths: int = 0

    @property
    def parted(self) -> bool:
        """Whether its records are taken one at a time."""
        return self.deaths >= DEATHS


class Hand(msgspec.Struct, array_like=True, gc=False):
    """Records in hand: of which partition, first and last offset, and whether it is one of a parted batch."""

    topic: str
    partition: int
    first: int
    last: int
    single: bool


class Marker(msgspec.Struct, gc=False):
    """What the file says."""

    hand: list[Hand] = []
    doubts: list[Doubt] = []


class Breaker:
    """Counts deaths; see the module."""

    def __init__(self, folder: Path | None = None, name: str = "") -> None:
        """Read what the last process left.

        Args:
            folder: where the marker is; it is made if it is not there. None = the breaker is off.
            name: tells the markers of processes that share the folder.
        """
        self._doubts: dict[Key, Doubt] = {}
        self._since: dict[Key, int] = {}  # first offset that was in hand since the last commit
        self._hand: list[Hand] = []
        self._over = False
        self._file, self._path = -1, Path()
        if folder is None:
            return
        try:
            self._file, self._path = _open(folder, name)
            self._learn(_read(self._file))
        except OSError as error:
            hint = (
                "a record that kills the process will do so for ever; name a directory that it can write to: state.path"
            )
            log.warning("crash_breaker_off", folder=str(folder), error=error.strerror, hint=hint)

    def split(
        self, batches: Sequence[Batch | Rows], queued: Container[Key]
    ) -> tuple[list[Batch | Rows], list[Batch | Rows]]:
        """Return what can be processed together, and what must be processed after it, one by one in this order.

        Args:
            batches: what a poll returned.
            queued: partitions of which something is to be processed one by one already: what comes must wait behind it.
        """
        whole: list[Batch | Rows] = []
        alone: list[Batch | Rows] = []
        for batch in batches:
            key = (batch.topic, batch.partition)
            doubt = self._doubts.get(key)
            if len(batch) and doubt is not None and doubt.parted and bounds(batch)[0] <= doubt.last:
                log.warning("one_record_at_a_time", partition=f"{key[0]}-{key[1]}", first=doubt.first, last=doubt.last)
                alone += [part(batch, at, at + 1) for at in offsets_of(batch) if at <= doubt.last]
                rest = part(batch, doubt.last + 1, _END)
                alone += [rest] if len(rest) else []
            else:
                (alone if key in queued else whole).append(batch)
        return whole, alone

    @contextmanager
    def hold(self, batches: Sequence[Batch | Rows]) -> Iterator[None]:
        """Have batches in hand; an exception leaves them there, since the process is about to end of it."""
        for batch in batches:
            if len(batch):
                key, (first, last) = (batch.topic, batch.partition), bounds(batch)
                single = len(batch) == 1 and self._alone(key, first) is not None
                first = first if single else self._since.setdefault(key, first)
                self._hand.append(Hand(*key, first, last, single))
        self._write()
        yield
        self._hand.clear()
        self._write()

    def doomed(self, batch: Batch | Rows) -> bool:
        """Return whether a batch is the one record that the process has died of."""
        if len(batch) != 1:
            return False
        at = bounds(batch)[0]
        doubt = self._alone((batch.topic, batch.partition), at)
        return doubt is not None and doubt.single == at and doubt.single_deaths >= DEATHS

    def committed(self, positions: Mapping[Key, int]) -> None:
        """End the count of what lies below positions that were committed."""
        changed = False
        for key, position in positions.items():
            self._since.pop(key, None)
            doubt = self._doubts.get(key)
            if doubt is None:
                continue
            if position > (doubt.last if doubt.parted else doubt.first):
                del self._doubts[key]
                changed = True
            elif doubt.single < position:
                doubt.single, doubt.single_deaths = -1, 0
        if changed:
            self._write()

    def drop(self, keys: Iterable[Key]) -> None:
        """Forget what is in hand of partitions that are read from elsewhere."""
        for key in keys:
            self._since.pop(key, None)

    def clear(self) -> None:
        """Forget all deaths, and have nothing in hand any more: somebody has asked the process to end."""
        self._over = True
        self._doubts.clear()
        self._write()

    def close(self) -> None:
        """Close the marker, and remove it if it says nothing. May be called twice."""
        file, self._file = self._file, -1
        if file >= 0:
            if self._over or not (self._hand or self._doubts):
                self._path.unlink(missing_ok=True)
            os.close(file)

    def _alone(self, key: Key, offset: int) -> Doubt | None:
        """Return the parted batch that a record belongs to."""
        doubt = self._doubts.get(key)
        return doubt if doubt is not None and doubt.parted and offset <= doubt.last else None

    def _learn(self, marker: Marker) -> None:
        """Count what was in hand when the last process died."""
        self._doubts = {(each.topic, each.partition): each for each in marker.doubts}
        for hand in marker.hand:
            key = (hand.topic, hand.partition)
            doubt = self._doubts.get(key)
            if hand.single:
                if doubt is None:
                    doubt = self._doubts[key] = Doubt(*key, hand.first, hand.last, DEATHS)
                deaths = doubt.single_deaths if doubt.single == hand.first else 0
                doubt.single, doubt.single_deaths = hand.first, deaths + 1
            else:
                if doubt is None or doubt.first != hand.first:  # another begin: something was committed since
                    doubt = self._doubts[key] = Doubt(*key, hand.first, hand.last)
                doubt.deaths, doubt.last = doubt.deaths + 1, max(doubt.last, hand.last)
            log.warning(
                "died_with_records_in_hand",
                partition=f"{key[0]}-{key[1]}",
                first=hand.first,
                last=hand.last,
                deaths=doubt.single_deaths if hand.single else doubt.deaths,
            )

    def _write(self) -> None:
        """Write the marker; one line, so that what a longer one left behind it means nothing."""
        if self._file < 0:
            return
        busy = (self._hand or self._doubts) and not self._over
        line = msgspec.json.encode(Marker(self._hand, list(self._doubts.values()))) if busy else b""
        with suppress(OSError):  # a full disk must not stop what works
            os.pwrite(self._file, line + b"\n", 0)
            if self._over and line:  # a signal came while this was being written
                os.pwrite(self._file, b"\n", 0)


def place(config: Config) -> tuple[Path | None, str]:
    """Return where the marker of a process is, and its name; no place where nothing can be read again."""
    source = config.source
    if isinstance(source, FileSettings):
        kept = source.pipe is None and config.state.type != "none"
        return (config.state.folder if kept else None), ""
    group = getattr(source, "group_id", None)
    if group is None:
        return None, ""
    identity = [source.bootstrap_servers, source.topics, group, source.instance]  # type: ignore[union-attr]  # Kafka's
    name = hashlib.sha256(msgspec.json.encode(identity)).hexdigest()[:12]
    given = config.state.path or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given or _shared()), name


def _shared() -> Path:
    """Return the folder of this user in the one for temporary files."""
    return Path(tempfile.gettempdir()) / f"tidegauge-{os.geteuid()}"


def _open(folder: Path, name: str) -> tuple[int, Path]:
    """Open the first marker of a name that no living process has."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder == _shared():
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PermissionError(1, "others can write to it")
    for slot in range(_SLOTS):
        path = folder / f"crash{name and '-'}{name}-{slot}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), path.stat()):  # its last owner may have removed it meanwhile
                return file, path
        except OSError:
            pass
        os.close(file)
    raise BlockingIOError(11, f"{_SLOTS} processes have one each")


def _read(file: int) -> Marker:
    """Return what a marker says; one that cannot be read says nothing."""
    line = os.pread(file, _LARGEST, 0).partition(b"\n")[0]
    try:
        return msgspec.json.decode(line, type=Marker) if line else Marker()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Marker()
