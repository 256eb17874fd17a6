"""Which fleet a record belongs to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import routing
from monitor.record import RecordSettings
from monitor.routing import Router
from monitor.sources.base import Batch, Refused, Rows

FLEETS = {"pump-*": ("pressure", "flow"), "fan-?": ("speed", "flow"), "*-1": ("speed",)}
NAMES = ("pump-1", "pump-22", "fan-1", "fan-2", "fan-33", "door-1", "door", "PUMP-1", "pump-", "é-1")
WRONG = (b"", b"a\nb", b"\xff", b"x" * 300, None)


def owner(name: str) -> str | None:
    """Return the first glob that matches, one record at a time."""
    return next((glob for glob in FLEETS if fnmatchcase(name, glob)), None)


def batch(keys: Sequence[bytes | None], first: int = 0, *, field: bool = False) -> Batch:
    """Return records whose id is the key, or a field beside another key."""
    values = [
        json.dumps({"n": n, **({"stream": (k or b"").decode()} if field else {})}).encode() for n, k in enumerate(keys)
    ]
    return Batch(
        "t",
        3,
        range(first, first + len(keys)),
        [7 + n for n in range(len(keys))],
        [b"pump-9"] * len(keys) if field else keys,
        values,
    )


@given(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=40), cut=st.integers(1, 40), field=st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_record_has_one_place(names: list[str], cut: int, *, field: bool) -> None:
    """If it failed, a record would be scored by the wrong model, by two, or counted by nobody."""
    router = Router(RecordSettings(), FLEETS)
    found: list[tuple[int, str | None]] = []
    filtered = 0
    for begin in range(0, len(names), cut):
        part = [name.encode() for name in names[begin : begin + cut]]
        whole = batch(part, begin, field=field)
        routed = router.split(whole)
        filtered += routed.filtered
        assert list(routed.parts) == [glob for glob in FLEETS if glob in routed.parts]
        for glob, own in routed.parts.items():
            assert isinstance(own, Batch)
            assert (own.topic, own.partition) == ("t", 3)
            assert list(own.offsets) == sorted(own.offsets)
            for column in ("timestamps", "keys", "values"):
                assert list(getattr(own, column)) == [getattr(whole, column)[o - begin] for o in own.offsets], column
            found += [(offset, glob) for offset in own.offsets]
    wanted = [(offset, owner(name)) for offset, name in enumerate(names)]
    assert sorted(found) == [each for each in wanted if each[1] is not None]
    assert filtered == sum(glob is None for _, glob in wanted)


def test_what_has_no_id_goes_to_the_first_fleet() -> None:
    """If it failed, a record that no fleet can use would vanish, and be in no count."""
    router = Router(RecordSettings(), FLEETS)
    keys = [*WRONG, b"fan-1", b"door"]
    for _ in range(2):  # what is wrong stays wrong, and is not remembered
        routed = router.split(batch(keys))
        assert {glob: list(part.offsets) for glob, part in routed.parts.items() if isinstance(part, Batch)} == {
            "pump-*": [0, 1, 2, 3, 4],
            "fan-?": [5],
        }
        assert routed.filtered == 1
    assert set(router._known) == {b"fan-1", b"door"}


def test_a_batch_of_one_fleet_stays_whole() -> None:
    """If it failed, producers that partition by fleet would pay for a copy of each record."""
    router = Router(RecordSettings(), FLEETS)
    whole = batch([b"fan-1", b"fan-2"] * 5)
    assert router.split(whole).parts["fan-?"] is whole
    nobody = router.split(batch([b"door"] * 4))
    assert (nobody.parts, nobody.filtered) == ({}, 4)


def test_ids_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it failed, each record would be matched against all globs; or ids that are made up would fill the memory."""
    asked: list[str] = []

    def noting(name: str, glob: str) -> bool:
        asked.append(name)
        return fnmatchcase(name, glob)

    monkeypatch.setattr(routing, "fnmatchcase", noting)
    router = Router(RecordSettings(), FLEETS)
    for _ in range(5):
        router.split(batch([b"fan-1", b"pump-1", b"door"] * 20))
    assert sorted(set(asked)) == ["door", "fan-1", "pump-1"]
    assert len(asked) == 2 + 1 + 3
    monkeypatch.setattr(routing, "_MOST_KNOWN", 10)
    for number in range(100):
        assert list(router.split(batch([b"fan-1", b"x%d-1" % number])).parts) == ["fan-?", "*-1"]
        assert len(router._known) <= 11


def rows(names: Sequence[str], values: Sequence[Sequence[float]], refused: Sequence[Refused] = ()) -> Rows:
    """Return rows of a table; offset 2 is one that was refused."""
    streams = list(dict.fromkeys(names))
    offset = np.array([n for n in range(len(names) + len(refused)) if n not in {r.offset for r in refused}], np.int64)
    codes = np.array([streams.index(name) for name in names], np.int32)
    label = np.arange(len(names)) % 2 == 0
    return Rows("t", 0, streams, codes, offset * 1_000, np.array(values, np.float32), offset, label, refused)


@given(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=30), data=st.data())
@settings(max_examples=100, deadline=None)
def test_every_row_of_a_table_has_one_place(names: list[str], data: st.DataObject) -> None:
    """If it failed, a CSV would be scored with another fleet's columns."""
    router = Router(RecordSettings(), FLEETS)
    assert router.features == ("pressure", "flow", "speed")
    cell = st.sampled_from([1.0, 2.5, float("nan")])
    values = data.draw(st.lists(st.tuples(cell, cell, cell), min_size=len(names), max_size=len(names)))
    bad = [Refused(2, b"what", "shape", "why")] if len(names) > 2 else []
    whole = rows(names, values, bad)
    routed = router.split(whole)
    table = dict(zip(whole.offset.tolist(), zip(names, values, strict=True), strict=True))
    seen: list[int] = []
    for glob, part in routed.parts.items():
        assert isinstance(part, Rows)
        places = [router.features.index(name) for name in FLEETS[glob]]
        assert part.label is not None
        assert whole.label is not None
        for at, offset in enumerate(part.offset.tolist()):
            name, cells = table[offset]
            assert (part.streams[int(part.stream[at])], owner(name)) == (name, glob)
            np.testing.assert_array_equal(part.values[at], np.array([cells[p] for p in places], np.float32))
            assert not np.isnan(part.values[at]).all()
            assert part.time[at] == offset * 1_000
            assert part.label[at] == whole.label[whole.offset.tolist().index(offset)]
        assert set(part.stream.tolist()) == set(range(len(part.streams)))
        assert [r.offset for r in part.refused] == sorted(r.offset for r in part.refused)
        for row in part.refused:
            if row.reason == "features":
                name, cells = table[row.offset]
                assert owner(name) == glob
                assert all(np.isnan(cells[p]) for p in places)
                assert json.loads(row.value)["stream"] == name
            else:
                assert row is bad[0]
        seen += [*part.offset.tolist(), *(row.offset for row in part.refused)]
    nobody = [offset for offset, (name, _) in table.items() if owner(name) is None]
    assert sorted(seen + nobody) == sorted([*table, *(r.offset for r in bad)])
    assert routed.filtered == len(nobody)
