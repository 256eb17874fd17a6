"""What leaves the engine depends on the bytes that came in, not on how they came: with a real trained model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.bundle import Bundle
from models.serving import Model
from monitor.config import Config, load
from monitor.engine import Engine
from monitor.sources.base import Batch
from tests.garbage import GARBAGE

Raw = tuple[int, bytes | None, bytes | None]  # partition, key, value


@pytest.fixture(scope="module")
def config(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A line that adapts quickly, and alerts that come and go."""
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    sections = {
        "record": {"max_step": "1h", "max_streams": 5, "select": {"exclude": ["ignored*"]}},
        "model": {"bundle": str(bundle.path)},
        "threshold": {"type": "tracked", "q": 0.9, "half_life": 10, "prior_weight": 3},
        "alert": {"open_after": 1, "resolve_after": 2, "rest": 0, "expire": "30m"},
        "dead_letter": {"path": str(path.with_name("dead.jsonl")), "late": True},
    }
    path.write_text(json.dumps(sections))
    return load(path)


@pytest.fixture(scope="module")
def make(bundle: Bundle, model: Model, config: Config) -> Callable[[], Engine]:
    """Makes engines without a past."""

    def engine() -> Engine:
        return Engine(config, bundle, model)

    return engine


@st.composite
def inputs(draw: st.DrawFn) -> list[Raw]:
    """Draw records of two partitions: long stretches of a few streams, jumps, repeats, bumps and garbage."""
    clocks: dict[tuple[int, int], int] = {}
    records: list[Raw] = []
    for _ in range(draw(st.integers(1, 12))):
        partition, stream = draw(st.integers(0, 1)), draw(st.integers(0, 6))
        key = b"ignored" if stream == 6 else b"s%d" % stream
        level = draw(st.sampled_from([0, 0, 4, 60]))
        for _ in range(draw(st.integers(1, 16))):
            kind = draw(st.integers(0, 11))
            if kind == 0:
                other = draw(st.sampled_from([key, None, b"", b"a\nb"]))
                records.append((partition, other, draw(st.sampled_from(GARBAGE))))
                continue
            step = 1 if kind > 1 else draw(st.sampled_from([0, -3, 7, 200]))
            row = clocks[partition, stream] = max(0, clocks.get((partition, stream), 100) + step)
            values = {"pressure": 50 + row % 12 + level, "flow": None if kind == 2 else 1000 + row % 7}
            text = {"time": 1_700_000_000_000 + row * 60_000, "values": values}
            records.append((partition, key, json.dumps(text).encode()))
    return records


def outcome(engine: Engine, records: Sequence[Raw], sizes: Sequence[int]) -> tuple[object, ...]:
    """Return what becomes of the records, by partition, when they come in batches of these sizes."""
    events: dict[int, list[tuple[bytes | None, bytes | None]]] = {0: [], 1: []}
    letters: list[tuple[object, ...]] = []
    offsets = [0, 0]
    consumed: Counter[str] = Counter()
    at = turn = 0
    while at < len(records):
        part = records[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(part), turn + 1
        batches = []
        for number in (0, 1):
            mine = [(key, value) for partition, key, value in part if partition == number]
            places = range(offsets[number], offsets[number] + len(mine))
            offsets[number] += len(mine)
            stamps = [1_700_000_000_000 + 1_000 * place for place in places]
            batches.append(Batch("t", number, places, stamps, [key for key, _ in mine], [value for _, value in mine]))
        work = engine.process(batches)
        consumed += work.consumed
        for alert, event in zip(work.alerts, work.events, strict=True):
            events[alert.partition].append((event.key, event.value))
        letters += [(d.partition, d.offset, d.reason, d.detail, d.key, d.value) for d in work.dead_letters]
    counts = {key: Counter(partition.counts) for key, partition in engine.partitions.items()}
    counted = sum(sum(each.values()) for each in counts.values())
    assert counted + engine.pending() == sum(consumed.values()) == len(records)
    return events, sorted(letters, key=lambda each: each[:3]), counts, engine.pending(), engine.firing()


@given(records=inputs(), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_batches_do_not_matter(make: Callable[[], Engine], records: list[Raw], sizes: list[int]) -> None:
    """If it failed, an alert's bytes would depend on how many records Kafka happened to return, and no replay agree."""
    alone = outcome(make(), records, [1])
    together = outcome(make(), records, sizes)
    assert together == alone
