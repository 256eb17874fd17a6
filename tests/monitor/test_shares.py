"""The state of several fleets in one log: restarts, new bundles, and fleets that come and go."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.bundle import Bundle
from models.serving import Model
from monitor.config import load
from monitor.engine import Engine
from monitor.fleets import Fleets, Loaded, engine_for
from monitor.keeper import Begun, Keeper
from monitor.sources.base import Batch, Gained, Key, Rows, Source, SourceError
from monitor.state import META_KEY, StateSettings, StateStore, fleets_of, read_entry, read_meta
from monitor.state.entry import FLEETS_FORMAT
from monitor.state.snapshot import Snapshot, SnapshotWriter
from monitor.upkeep.reading import Reader
from tests.integration.streams import value
from tests.monitor.test_keeper import Memory

KEY = ("in", 0)
STREAMS = ("pump-1", "fan-1", "pump-2", "door", "fan-2")
ENDED = 5 * 78
"""Records up to within a bump of pumps and fans alike."""

RESTART = "state.on_new_bundle=restart_lines"


def fan(row: int) -> bytes:
    """Return the JSON of a fan's row; every now and then it runs hot."""
    wave = row * math.pi / 24
    hot = 60.0 if row % 40 >= 34 else 0.0
    values = {
        "speed": 900 + 80 * math.sin(wave),
        "temperature": 40 + 3 * math.cos(wave) + hot,
        "flow": 10 + math.sin(wave),
    }
    return json.dumps({"time": 1_700_000_000_000 + row * 60_000, "values": values}).encode()


class Input(Source):
    """One partition of records in memory."""

    def __init__(self, store: StateStore) -> None:
        """Begin with waves of both fleets, and of a stream that belongs to none."""
        self._store = store

    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Return nothing: the tests hand batches over."""
        del timeout
        return []

    def store(self, settings: StateSettings) -> StateStore:
        """Return the memory."""
        del settings
        return self._store

    def batch(self, begin: int, end: int) -> Batch:
        """Return some of the records."""
        names = [STREAMS[at % len(STREAMS)] for at in range(begin, end)]
        values = [
            fan(at // len(STREAMS)) if name.startswith("fan") else value(at // len(STREAMS))
            for at, name in zip(range(begin, end), names, strict=True)
        ]
        return Batch("in", 0, range(begin, end), [0] * (end - begin), [name.encode() for name in names], values)

    def again(self, key: Key, begin: int, end: int) -> Iterator[list[Batch | Rows]]:
        """Yield them ten at a time."""
        assert key == KEY
        for at in range(begin, end, 10):
            yield [self.batch(at, min(at + 10, end))]


class World:
    """A process: engines and keeper over a log that outlives it."""

    def __init__(self, loaded: dict[str, Loaded], store: Memory, *settings: str) -> None:
        """Start it."""
        self.store, self.source = store, Input(store)
        globs = ", ".join(f"{{streams: {name!r}, bundle: b}}" for name in loaded)
        base = ("threshold={q: 0.9, half_life: 20}", "alert={open_after: 1, resolve_after: 3, rest: 0}")
        self.config = load(None, [f"model.bundles=[{globs}]", *base, "state.sweep_records=90", *settings])
        self.engine = engine_for(self.config, loaded)
        self.keeper = Keeper(self.config, self.engine, self.source)

    def gain(self, offset: int, *, recorded: bool = True) -> Begun:
        """Get the partition, and restore it to the end."""
        self.keeper.take({KEY: Gained(offset, recorded, None)})
        found: list[Begun] = []
        while self.keeper.busy:
            found += self.keeper.step(1.0)
        (begun,) = found
        if begun.commit:
            self.commit(offset)
        return begun

    def process(self, begin: int, end: int) -> list[bytes]:
        """Process and commit; return the events."""
        work = self.engine.process([self.source.batch(begin, end)])
        self.commit(end)
        return [event.value or b"" for event in work.events]

    def commit(self, offset: int) -> None:
        """Write what the keeper says."""
        messages = self.keeper.write({KEY: offset})
        entries = [(each.key, each.value or b"") for each in messages]
        assert [name for name, _ in entries].count(META_KEY) == 1
        assert entries[-1][0] == META_KEY
        self.store.entries.setdefault(KEY, []).extend([*entries, (None, b"")])

    def compact(self) -> None:
        """Leave only the newest of each key in the log, as Kafka does."""
        entries = self.store.entries[KEY]
        last = {name: at for at, (name, _) in enumerate(entries) if name is not None}
        for at, (name, _) in enumerate(entries):
            if name is not None and last[name] != at:
                entries[at] = (None, b"")

    def names(self, fleet: str) -> set[str]:
        """Return the live streams of a fleet."""
        table = self.engine.fleets[fleet].partitions[KEY].table
        return {table.id_of(slot) for slot in table.live().tolist()}

    @property
    def counted(self) -> int:
        """Records that are in a class, or wait."""
        every = [engine.partitions[KEY] for engine in self.engine.fleets.values()]
        return sum(sum(partition.counts.values()) for partition in every) + self.engine.pending()


@pytest.fixture(scope="module")
def pumps(bundle: Bundle, model: Model) -> Loaded:
    """What scores pumps."""
    return Loaded(bundle, model)


@pytest.fixture(scope="module")
def hot(fans: Bundle) -> Loaded:
    """What scores fans."""
    return Loaded(fans, Model(fans))


@pytest.fixture
def both(pumps: Loaded, hot: Loaded) -> dict[str, Loaded]:
    """Two fleets."""
    return {"pump-*": pumps, "fan-*": hot}


def events(found: list[bytes]) -> list[Any]:
    """Return the data of events."""
    return [json.loads(each)["data"] for each in found]


@pytest.fixture
def straight(both: dict[str, Loaded]) -> list[bytes]:
    """What a process makes that nothing interrupts."""
    world = World(both, Memory())
    world.gain(0, recorded=False)
    found = world.process(0, 600)
    streams = {each["labels"]["stream"] for each in events(found)}
    assert streams == {"pump-1", "pump-2", "fan-1", "fan-2"}
    return found


def test_a_process_goes_on_where_another_one_ended(both: dict[str, Loaded], straight: list[bytes]) -> None:
    """If it failed, a restart would change the alerts of a fleet, or count a record twice or never."""
    store = Memory()
    found: list[bytes] = []
    for begin in range(0, 600, 50):
        world = World(both, store)
        begun = world.gain(begin, recorded=begin > 0)
        assert begun.commit == (begin == 0)
        assert begun.work is None
        found += world.process(begin, begin + 23)
        found += world.process(begin + 23, begin + 50)
        assert world.counted == begin + 50
        if begin % 100:
            world.compact()
    assert found == straight
    meta = read_meta(store.entries[KEY][-2][1])
    assert (meta.format, meta.live, meta.next_offset) == (FLEETS_FORMAT, 4, 600)
    assert {name: each.live for name, each in fleets_of(meta).items()} == {"pump-*": 2, "fan-*": 2}
    assert meta.counts["filtered"] == 120
    assert sum(meta.counts.values()) + meta.pending == 600
    assert meta.log > 0  # a restore does not read the log from its beginning for ever


def test_one_bundle_for_all_writes_what_it_always_wrote(pumps: Loaded) -> None:
    """If it failed, an older version could not go back to the state of a daemon of one bundle."""
    world = World({"*": pumps}, Memory())
    assert isinstance(world.engine, Engine)
    world.gain(0, recorded=False)
    world.process(0, 200)
    entries = [(name, read_entry(value)) for name, value in world.store.entries[KEY] if name is not None]
    assert {entry.v for _, entry in entries} == {1}
    assert all(name[:1] in {b"D", b"I", b"M"} for name, _ in entries)
    assert b"fleet" not in b"".join(value for _, value in world.store.entries[KEY])


def test_a_new_bundle_touches_its_fleet_alone(
    both: dict[str, Loaded], straight: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it failed, a retrained model of one fleet would end the alerts, and forget the lines, of another."""
    store = Memory()
    first = World(both, store)
    first.gain(0, recorded=False)
    found = first.process(0, ENDED)
    assert {each["labels"]["stream"] for each in events(found)} > {"pump-1"}
    fired = {name: engine.firing() for name, engine in first.engine.fleets.items()}
    assert fired == {"pump-*": 2, "fan-*": 2}

    def renewed(*settings: str) -> World:
        world = World(both, store, *settings)
        mark = world.engine.fleets["fan-*"].model
        mark.sha256 = "f" * 64
        world.keeper = Keeper(world.config, world.engine, world.source)
        return world

    with pytest.raises(SourceError, match=r"model\.bundles\.1\.bundle is ffffffffffff: set state\.on_new_bundle"):
        renewed().gain(ENDED)
    monkeypatch.undo()
    second = renewed(RESTART)
    begun = second.gain(ENDED)
    assert begun.work is not None
    ends = events([event.value or b"" for event in begun.work.events])
    assert {(each["labels"]["stream"], each["reason"]) for each in ends} == {
        ("fan-1", "model_changed"),
        ("fan-2", "model_changed"),
    }
    assert all(each["model"]["kind"] == "pca" and each["model"]["sha256"] != "f" * 64 for each in ends)
    after = second.process(ENDED, 600)
    pump = [each for each in straight if json.loads(each)["subject"].startswith("pump")]
    assert [each for each in found + after if json.loads(each)["subject"].startswith("pump")] == pump
    metas = fleets_of(read_meta(store.entries[KEY][-2][1]))
    assert [len(metas[name].bundles) for name in both] == [1, 2]


def test_fleets_that_come_out_of_one(pumps: Loaded, hot: Loaded) -> None:
    """If it failed, streams that got a model of their own would have two, or an alert that never resolves."""
    store = Memory()
    first = World({"*": pumps}, store)
    first.gain(0, recorded=False)
    first.process(0, ENDED)
    firing = first.engine.firing()
    assert firing >= 3
    split = {"fan-*": hot, "*": pumps}
    with pytest.raises(SourceError, match=r"model\.bundles: 2 streams of the state are of another fleet now"):
        World(split, store).gain(ENDED)
    second = World(split, store, RESTART)
    begun = second.gain(ENDED)
    assert begun.commit
    gone = [] if begun.work is None else events([event.value or b"" for event in begun.work.events])
    assert all(each["reason"] == "model_changed" and each["labels"]["stream"].startswith("fan") for each in gone)
    assert second.engine.firing() == firing - len(gone)
    assert second.counted == ENDED
    assert (second.names("*"), second.names("fan-*")) == ({"pump-1", "pump-2", "door"}, set())
    second.process(ENDED, 600)
    assert second.names("fan-*") == {"fan-1", "fan-2"}
    second.compact()
    third = World(split, store)  # nothing changes any more, so nobody must allow it
    assert third.gain(600).commit is False
    assert third.counted == 600
    assert (third.names("*"), third.names("fan-*")) == ({"pump-1", "pump-2", "door"}, {"fan-1", "fan-2"})
    assert third.process(600, 900) == second.process(600, 900)


def test_fleets_that_go(pumps: Loaded, both: dict[str, Loaded], hot: Loaded) -> None:
    """If it failed, a fleet that was taken out of the configuration would leave alerts that fire for ever."""
    store = Memory()
    first = World(both, store)
    first.gain(0, recorded=False)
    first.process(0, ENDED)
    pending = first.engine.pending()
    assert pending
    second = World({"pump-*": pumps}, store, RESTART)
    begun = second.gain(ENDED)
    assert begun.work is not None
    ends = events([event.value or b"" for event in begun.work.events])
    assert {each["labels"]["stream"] for each in ends} == {"fan-1", "fan-2"}
    assert all(each["attribution"] == [] for each in ends)  # nobody knows the names any more
    assert {each["model"]["sha256"] for each in ends} == {hot.bundle.sha256}
    assert second.counted == ENDED
    assert read_meta(store.entries[KEY][-2][1]).counts["late"] >= pending
    second.process(ENDED, 500)
    back = World(both, store, RESTART)
    back.gain(500)
    assert back.names("fan-*") == set()  # what it knew long ago is not to come back
    assert back.names("pump-*") == {"pump-1", "pump-2"}
    back.process(500, 600)
    assert back.counted == 600
    one = World({"*": pumps}, store, RESTART)
    one.gain(600)
    assert one.counted == 600
    assert one.names("*") == set()  # every stream was of a fleet, and begins anew
    one.process(600, 700)
    again = World({"*": pumps}, store)
    again.gain(700)
    assert (again.counted, len(again.names("*"))) == (700, 5)
    assert read_entry(store.entries[KEY][-2][1]).v == 1


def test_a_record_that_kills_is_read_by_no_fleet_again(both: dict[str, Loaded]) -> None:
    """If it failed, a daemon would die of a record in each restore, for as long as any fleet reads that far back."""
    store = Memory()
    first = World(both, store, "state.sweep_records=1000000")
    first.gain(0, recorded=False)
    first.process(0, 60)
    work = first.engine.bar(first.source.batch(60, 61), "died")
    assert [(letter.offset, letter.reason) for letter in work.dead_letters] == [(60, "crash")]
    first.commit(61)
    first.process(61, 100)
    second = World(both, store)
    split: list[int] = []
    assert isinstance(second.engine, Fleets)
    router = second.engine.router
    own = router.split

    def noting(batch: Batch | Rows) -> Any:
        assert isinstance(batch, Batch)
        split.extend(batch.offsets)
        return own(batch)

    router.split = noting  # type: ignore[method-assign]  # what would decode it
    second.gain(100)
    assert 60 not in split
    assert {59, 61} <= set(split)
    assert second.counted == 100


def test_a_snapshot_has_all_fleets(tmp_path: Path, both: dict[str, Loaded], pumps: Loaded) -> None:
    """If it failed, an exported state could not be brought back, or replay could not go on from it."""
    world = World(both, Memory())
    world.gain(0, recorded=False)
    world.process(0, ENDED)
    reader = Reader(world.engine, world.store, world.source.again)
    loaded = reader.fitting(KEY)
    assert loaded is not None
    assert (loaded.streams, loaded.gone) == (4, None)
    with SnapshotWriter(tmp_path / "saved") as snapshot:
        snapshot.add(KEY, ENDED, loaded.messages(KEY[0]))
    other = World(both, Memory())
    again = Reader(other.engine, Snapshot(tmp_path / "saved"), None).fitting(KEY)
    assert again is not None
    assert again.gone is None
    for name, engine in other.engine.fleets.items():
        engine.partitions[KEY] = again.fleets[name].partition
    assert other.counted == ENDED
    batch = world.source.batch(ENDED, 600)
    assert [e.value for e in other.engine.process([batch]).events] == [
        e.value for e in world.engine.process([batch]).events
    ]
    with pytest.raises(SourceError, match=r"is of the fleets pump-\*, fan-\*"):
        Reader(World({"*": pumps}, Memory()).engine, Snapshot(tmp_path / "saved"), None).fitting(KEY)
