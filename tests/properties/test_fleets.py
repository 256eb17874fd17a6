"""A fleet among others is what it is alone: with two real models of different features, lengths and grids."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from models.bundle import Bundle
from models.serving import Model
from monitor.codec import StreamIds
from monitor.config import Config, load
from monitor.engine import Engine, Work
from monitor.fleets import AnyEngine, Fleets, Loaded, engine_for
from monitor.identity import wrong_id
from monitor.sources.base import Batch
from tests.garbage import GARBAGE

FLEETS = ("pump-*", "fan-*")
NAMES = ("pump-1", "pump-2", "pump-3", "fan-1", "fan-2", "door")
SETTINGS = (
    "record={max_step: 1h, max_streams: 2, expire: 3h}",
    "threshold={type: tracked, q: 0.9, half_life: 10, prior_weight: 3}",
    "alert={open_after: 1, resolve_after: 2, rest: 0, expire: 40m}",
    "alert.quality={silence: {factor: 2, min: 20m}, out_of_range: {temperature: [0, 200]}}",
    "dead_letter={path: nowhere.jsonl, late: true}",
)
Raw = tuple[int, bytes | None, bytes | None]  # partition, key, value


@pytest.fixture(scope="module")
def config() -> Config:
    """Lines that adapt quickly, alerts that come and go, streams that fall silent and are forgotten."""
    return load(None, SETTINGS)


@pytest.fixture(scope="module")
def loaded(bundle: Bundle, model: Model, fans: Bundle) -> dict[str, Loaded]:
    """Bundles and models of the two fleets."""
    return {"pump-*": Loaded(bundle, model), "fan-*": Loaded(fans, Model(fans))}


@st.composite
def inputs(draw: st.DrawFn) -> list[Raw]:
    """Draw records of two partitions, of streams of both fleets and of none: stretches, jumps, bumps and garbage."""
    clocks: dict[tuple[int, str], int] = {}
    records: list[Raw] = []
    now = 100
    for _ in range(draw(st.integers(1, 14))):
        partition, stream = draw(st.integers(0, 1)), draw(st.sampled_from(NAMES))
        level = draw(st.sampled_from([0, 0, 4, 60, 300]))
        now += draw(st.sampled_from([0, 0, 5, 30, 90]))
        for _ in range(draw(st.integers(1, 24))):
            kind = draw(st.integers(0, 14))
            if kind == 0:
                other = draw(st.sampled_from([stream.encode(), None, b"", b"a\nb"]))
                records.append((partition, other, draw(st.sampled_from(GARBAGE))))
                continue
            step = 1 if kind > 1 else draw(st.sampled_from([0, -3, 7, 200]))
            row = clocks[partition, stream] = max(clocks.get((partition, stream), now) + step, 0)
            pump = {"pressure": 50 + row % 12 + level, "flow": None if kind == 2 else 1000 + row % 7}
            wave = row * math.pi / 24
            fan = {"speed": 900 + 80 * math.sin(wave), "temperature": 40 + level, "flow": 10 + math.sin(wave)}
            values: dict[str, Any] = fan if stream.startswith("fan") else pump
            if kind == 3:
                values["colour"] = 1
            if kind == 4:  # what another fleet knows, and this one does not
                values["speed" if "pressure" in values else "pressure"] = "fast"
            if kind == 5:
                values = {"speed": 1} if stream.startswith("pump") else {"pressure": 1}
            text: dict[str, Any] = {"time": 1_700_000_000_000 + row * 60_000, "values": values}
            named = draw(st.booleans())
            text |= {"stream": stream} if named else {}
            records.append((partition, b"pump-9" if named else stream.encode(), json.dumps(text).encode()))
    return records


def owner(config: Config, raw: Raw) -> str | None:
    """Return whose a record is; the first fleet's, where nobody can say."""
    _, key, value = raw
    (stream,) = StreamIds(config.record).of([value], [key])
    if stream is None or wrong_id(stream.decode()):
        return FLEETS[0]
    return next((glob for glob in FLEETS if fnmatchcase(stream.decode(), glob)), None)


def run(
    engine: AnyEngine, records: Sequence[Raw], wanted: Sequence[bool], sizes: Sequence[int]
) -> tuple[list[Any], list[Any], Counter[str], Counter[str]]:
    """Return events by their order, dead letters, classes and reasons of what an engine gets of the records."""
    events: list[Any] = []
    letters: list[Any] = []
    classes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    offsets = [0, 0]
    placed: list[tuple[int, Raw, bool]] = []
    for raw, gets in zip(records, wanted, strict=True):
        placed.append((offsets[raw[0]], raw, gets))
        offsets[raw[0]] += 1
    at = turn = 0
    while at < len(placed):
        part = placed[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(part), turn + 1
        batches = []
        for number in (0, 1):
            mine = [(offset, raw) for offset, raw, gets in part if raw[0] == number and gets]
            stamps = [1_700_000_000_000 + 1_000 * offset for offset, _ in mine]
            keys, values = [raw[1] for _, raw in mine], [raw[2] for _, raw in mine]
            batches.append(Batch("t", number, [offset for offset, _ in mine], stamps, keys, values))
        work: Work = engine.process(batches)
        assert [alert.order for alert in work.alerts] == sorted(alert.order for alert in work.alerts)
        events += zip((a.order for a in work.alerts), ((e.key, e.value) for e in work.events), strict=True)
        letters += [(d.partition, d.offset, d.reason, d.detail, d.key, d.value) for d in work.dead_letters]
        classes += work.classes
        reasons += work.reasons
        assert work.positions == {(b.topic, b.partition): b.offsets[-1] + 1 for b in batches if len(b)}
        assert work.consumed.total() == sum(map(len, batches))
    return sorted(events), sorted(letters, key=lambda each: each[:3]), classes, reasons


@given(records=inputs(), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_fleet_among_others_is_what_it_is_alone(
    config: Config, loaded: Mapping[str, Loaded], records: list[Raw], sizes: list[int]
) -> None:
    """If it failed, another fleet's streams, or its bundle, would change what is an alert; or a record be lost."""
    fleets = engine_for(config, loaded)
    assert isinstance(fleets, Fleets)
    found = run(fleets, records, [True] * len(records), sizes)
    own = {
        name: Engine(config.model_copy(update={"alert": mine(config, name)}), one.bundle, one.model)
        for name, one in loaded.items()
    }
    owners = [owner(config, raw) for raw in records]
    alone = [run(engine, records, [name == glob for glob in owners], [len(records)]) for name, engine in own.items()]
    wanted = sorted((order, plain(each)) for part in alone for order, each in part[0])
    assert [(order, plain(each)) for order, each in found[0]] == wanted
    assert found[1] == sorted((each for part in alone for each in part[1]), key=lambda each: each[:3])
    nobody = owners.count(None)
    assert found[2] == alone[0][2] + alone[1][2] + Counter(filtered=nobody)
    assert found[3] == alone[0][3] + alone[1][3]
    assert fleets.pending() == sum(engine.pending() for engine in own.values())
    assert fleets.streams() == sum(engine.streams() for engine in own.values())
    assert fleets.firing() == sum(engine.firing() for engine in own.values())
    assert fleets.warming() == sum(engine.warming() for engine in own.values())
    counted = sum(sum(p.counts.values()) for parts in fleets.partitions.values() for p in parts)
    assert counted + fleets.pending() == len(records)
    reasons = {json.loads(value)["data"]["reason"] for _, (_, value) in found[0]}
    event(f"reasons {sorted(map(str, reasons))}")
    event(f"both fleets {len({key[:3] for _, (key, _) in found[0]}) > 1}")


def mine(config: Config, name: str) -> Any:
    """Return section `alert` without the range of a feature that only fans have, for a daemon of pumps alone."""
    quality = config.alert.quality
    if name == "fan-*" or quality is None:
        return config.alert
    return config.alert.model_copy(update={"quality": quality.model_copy(update={"out_of_range": {}})})


def plain(message: tuple[bytes | None, bytes | None]) -> str:
    """Return an event without its configuration's hash, which covers what is said of the other fleet, too."""
    key, value = message
    read = json.loads(value or b"")
    assert len(read["data"].pop("config_sha256")) == 64
    return json.dumps([(key or b"").decode(), read])
