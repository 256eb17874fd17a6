"""The keeper: partitions that come get their state, in slices; those that go take it with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pytest

from models.bundle import Bundle
from models.serving import Model
from monitor import keeper
from monitor.config import load
from monitor.engine import Engine
from monitor.keeper import Begun, Keeper
from monitor.sources.base import Batch, Gained, Key, Rows, Source, SourceError
from monitor.state import META_KEY, StateSettings, StateStore, read_meta
from tests.integration.streams import rows
from tests.properties.test_pipeline import LEFT_OVER

KEY = ("in", 0)


class Memory(StateStore):
    """Logs in memory; each entry takes a place."""

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: dict[Key, list[tuple[bytes | None, bytes]]] = {}
        self.failures = 0
        self.failing: Key | None = None

    def topic(self, topic: str) -> str:
        """Name the log."""
        return f"state-{topic}"

    def ends(self, keys: Iterable[Key]) -> Mapping[Key, int]:
        """Return the number of entries."""
        if self.failures:
            self.failures -= 1
            message = "no answer"
            raise SourceError(message)
        return {key: len(self.entries.get(key, ())) for key in keys}

    def newest(self, key: Key, end: int) -> bytes | None:
        """Return the last META."""
        if key == self.failing:
            self.failing = None
            message = "no answer"
            raise SourceError(message)
        metas = [value for name, value in self.entries[key][:end] if name == META_KEY]
        return metas[-1] if metas else None

    def read(self, key: Key, begin: int, end: int) -> Iterator[Sequence[bytes]]:
        """Yield an entry a slice; the markers of transactions are nobody's."""
        for name, value in self.entries[key][begin:end]:
            yield [] if name is None else [value]


class Input(Source):
    """One partition of records in memory."""

    def __init__(self, store: StateStore | None) -> None:
        """Begin with waves of three streams."""
        self.records = list(rows(("a", "b", "c"), 0, 100))
        self.again_from: list[int] = []
        self._store = store

    def poll(self, timeout: float) -> list[Batch | Rows]:
        """Return nothing: the tests hand batches over."""
        del timeout
        return []

    def store(self, settings: StateSettings) -> StateStore | None:
        """Return the memory."""
        del settings
        return self._store

    def batch(self, begin: int, end: int) -> Batch:
        """Return some of the records."""
        part = self.records[begin:end]
        keys, values = [each.key for each in part], [each.value for each in part]
        return Batch("in", 0, range(begin, begin + len(part)), [0] * len(part), keys, values)

    def again(self, key: Key, begin: int, end: int) -> Iterator[list[Batch | Rows]]:
        """Yield them ten at a time."""
        assert key[0] == KEY[0]
        self.again_from.append(begin)
        for at in range(begin, end, 10):
            yield [self.batch(at, min(at + 10, end))]


class World:
    """A process: engine and keeper over logs and an input that outlive it."""

    def __init__(self, bundle: Bundle, store: Memory | None, *settings: str) -> None:
        """Start it."""
        self.store, self.source = store, Input(store)
        config = load(None, ["threshold={q: 0.9}", "alert={open_after: 1, resolve_after: 3, rest: 0}", *settings])
        self.engine = Engine(config, bundle, Model(bundle))
        self.keeper = Keeper(config, self.engine, self.source)

    def gain(self, offset: int, *, recorded: bool = True, identity: str | None = None) -> Begun:
        """Get the partition, and restore it to the end."""
        self.keeper.take({KEY: Gained(offset, recorded, identity)})
        found: list[Begun] = []
        while self.keeper.busy:
            found += self.keeper.step(1.0)
        (begun,) = found
        if begun.commit:
            self.commit(offset)
        return begun

    def process(self, begin: int, end: int) -> list[bytes | None]:
        """Process and commit; return the events."""
        work = self.engine.process([self.source.batch(begin, end)])
        self.commit(end)
        return [event.value for event in work.events]

    def commit(self, offset: int) -> None:
        """Write what the keeper says."""
        messages = self.keeper.write({KEY: offset})
        if self.store is not None:
            assert all((each.topic, each.partition) == ("state-in", 0) for each in messages)
            self.store.entries.setdefault(KEY, []).extend((each.key, each.value or b"") for each in messages)
            self.store.entries[KEY].append((None, b""))  # the marker


@pytest.fixture
def world(bundle: Bundle) -> Callable[..., World]:
    """Starts processes: `world(store)`."""
    return lambda store, *settings: World(bundle, store, *settings)


def test_a_process_goes_on_where_another_one_ended(world: Callable[..., World]) -> None:
    """If it failed, a restart would change alerts."""
    straight = world(Memory())
    straight.gain(0, recorded=False)
    wanted = straight.process(0, 300)
    assert len(wanted) > 5
    store = Memory()
    found: list[bytes | None] = []
    for begin in range(0, 300, 50):
        process = world(store, "state.sweep_records=90")
        begun = process.gain(begin, recorded=begin > 0)
        assert begun.commit == (begin == 0)
        assert process.engine.partitions[KEY].table.live_count == (3 if begin else 0)
        found += process.process(begin, begin + 25)
        found += process.process(begin + 25, begin + 50)
    assert found == wanted


def test_what_is_decided_is_urgent(world: Callable[..., World]) -> None:
    """If it failed, scored work would wait in hand, and a restart would judge it again."""
    process = world(Memory())
    process.gain(0, recorded=False)
    polls = [process.engine.process([process.source.batch(at, at + 3)]) for at in range(0, 39, 3)]
    assert [work.urgent for work in polls[:2]] == [True, True]  # streams came; nothing was committed since
    process.commit(39)
    assert process.engine.process([process.source.batch(39, 42)]).urgent  # windows were scored
    process.commit(42)
    forgetful = world(None)
    forgetful.gain(0, recorded=True)
    assert not forgetful.engine.process([forgetful.source.batch(0, 45)]).urgent


def test_a_partition_that_goes_while_it_is_restored(world: Callable[..., World]) -> None:
    """If it failed, the state of a partition that another member writes would be held for ours."""
    store = Memory()
    first = world(store)
    first.gain(0, recorded=False)
    first.process(0, 60)
    process = world(store)
    process.keeper.take({KEY: Gained(60, recorded=True)})
    process.keeper.step(0.0)
    assert process.keeper.busy
    process.keeper.drop([KEY])
    assert (process.keeper.busy, process.keeper.step(1.0)) == (0, [])
    assert KEY not in process.engine.partitions
    assert process.gain(60).offset == 60


@pytest.mark.parametrize("short", [True, False])
def test_the_partitions_of_a_short_restore_come_together(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, *, short: bool
) -> None:
    """If it failed, a short restore would wait for work on what came meanwhile, or a long one keep all waiting."""
    store = Memory()
    first = world(store)
    first.gain(0, recorded=False)
    first.process(0, 60)
    other = ("in", 1)
    store.entries[other] = store.entries[KEY]
    store.failing = other
    monkeypatch.setattr(keeper, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(keeper, "_TOGETHER_SECONDS", 60.0 if short else 0.0)
    process = world(store)
    process.keeper.take({key: Gained(60, recorded=True) for key in (KEY, other)})
    steps = [process.keeper.step(60.0)]  # ends where the second one fails
    assert process.keeper.busy == (2 if short else 1)
    while process.keeper.busy:
        steps.append(process.keeper.step(60.0))
    came = [[each.key for each in step] for step in steps if step]
    assert came == ([[KEY, other]] if short else [[KEY], [other]])


def test_a_partition_that_goes_while_it_waits_for_others(world: Callable[..., World]) -> None:
    """If it failed, records of another member's partition would be asked for."""
    store = Memory()
    first = world(store)
    first.gain(0, recorded=False)
    first.process(0, 60)
    other = ("in", 1)
    store.entries[other] = store.entries[KEY]
    store.failing = other
    process = world(store)
    process.keeper.take({key: Gained(60, recorded=True) for key in (KEY, other)})
    assert (process.keeper.step(60.0), process.keeper.busy) == ([], 2)
    process.keeper.drop([KEY])
    assert process.keeper.busy == 1
    process.keeper.drop([other])
    assert (process.keeper.busy, process.keeper.step(1.0)) == (0, [])


def test_a_restore_that_fails_is_tried_again(world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    """If it failed, a broker that restarts would end every daemon that restores at the time."""
    store = Memory()
    first = world(store)
    first.gain(0, recorded=False)
    first.process(0, 60)
    monkeypatch.setattr(keeper, "_PAUSE_SECONDS", 0.01)
    store.failures = 3
    assert world(store).gain(60).commit is False
    monkeypatch.setattr(keeper, "PATIENCE_SECONDS", 0.0)
    store.failures = 3
    with pytest.raises(SourceError, match="no answer"):
        world(store).gain(60)


def test_state_that_does_not_belong_to_the_offset(world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    """If it failed, a daemon would go on with windows of other records than those before its offset."""
    monkeypatch.setattr(keeper, "_DOUBT_SECONDS", 0.1)
    store = Memory()
    first = world(store)
    first.gain(0, recorded=False, identity="one")
    first.process(0, 60)
    for offset, recorded, identity, said in (
        (50, True, None, "the state stands at 60, but the group's offset is 50"),
        (0, False, None, "no offset, but the state in 'state-in' stands at 60"),
        (60, True, "two", "made anew"),
    ):
        with pytest.raises(SourceError, match=said) as caught:
            world(store).gain(offset, recorded=recorded, identity=identity)
        assert caught.value.status == 78
        assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match="its state in 'state-in' is gone"):
        world(Memory()).gain(60)
    assert world(store).gain(60, identity="one").offset == 60


def test_another_bundle_with_other_features_is_another_stage(world: Callable[..., World], bundle: Bundle) -> None:
    """If it failed, windows of one model's features would be scored by another, or alerts never be resolved."""
    store = Memory()
    first = world(store)
    first.gain(0, recorded=False)
    first.process(0, 3 * 38)  # ends within a bump
    assert first.engine.firing() == 3
    old = first.engine.model.sha256
    pending = read_meta(store.entries[KEY][-2][1]).pending
    other = World(bundle, store, "state.on_new_bundle=keep_lines")
    other.engine.features = ("flow", "pressure")  # another order is other features
    other.engine.model.sha256 = "f" * 64
    other.keeper = Keeper(load(None, ["state.on_new_bundle=keep_lines"]), other.engine, other.source)
    begun = other.gain(3 * 38)
    assert begun.commit
    assert begun.work is not None
    events = [json.loads(event.value or b"") for event in begun.work.events]
    assert {event["data"]["reason"] for event in events} == {"model_changed"}
    assert all(event["data"]["attribution"] == [] for event in events)  # nobody knows the names any more
    assert all(event["data"]["model"]["sha256"] == old for event in events)
    table = other.engine.partitions[KEY].table
    assert (table["count"] == 0).all()
    assert not table["firing"].any()
    assert (table["line_n"][table.live()] > 0).all()  # the lines were to be kept
    assert other.source.again_from in ([], [3 * 38])
    assert sum(other.engine.partitions[KEY].counts.values()) == 3 * 38 + pending
    other.process(3 * 38, 3 * 60)
    again = World(bundle, store, "state.on_new_bundle=keep_lines")
    again.engine.features = ("flow", "pressure")
    again.engine.model.sha256 = "f" * 64
    again.keeper = Keeper(load(None), again.engine, again.source)
    again.gain(3 * 60)
    for name, column in other.engine.partitions[KEY].table._arrays.items():
        if name in LEFT_OVER:
            continue
        theirs = again.engine.partitions[KEY].table[name]
        assert np.array_equal(column[table.live()], theirs[table.live()], equal_nan=column.dtype.kind == "f"), name
