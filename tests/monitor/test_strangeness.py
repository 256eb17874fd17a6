"""The calibration against its formulas, a number at a time."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from monitor.strangeness import Strangeness, VoicePrior
from monitor.table import StreamTable

PRIOR = VoicePrior(-1.0, 1.5, -0.9, 0.8)


def table_of(kind: Strangeness, streams: int) -> tuple[StreamTable, NDArray[np.int32]]:
    """Return a table with so many live streams, and their slots."""
    table = StreamTable(kind.columns)
    slots = np.array([table.assign(str(i).encode()) for i in range(streams)], np.int32)
    table.admit(slots.astype(np.intp))
    return table, slots


def course(streams: int, windows: int, seed: int = 0) -> NDArray[np.float64]:
    """Return log errors `(streams, windows)` with an event."""
    found = np.random.default_rng(seed).normal(-1, 0.8, (streams, windows))
    found[:, 300:420] += 4
    return found


def by_hand(logs: list[float], prior: VoicePrior, short: int, weight: float) -> list[float]:
    """Return S of one stream from the words of the docstring, with `math` alone."""
    q50, qt, m, v = prior.q50, prior.qt, prior.mean, prior.variance
    a = 1 - 0.5 ** (1 / 2000)
    run, out = 0, []
    for n, e in enumerate(logs):
        recent = logs[max(0, n - short + 1) : n + 1]
        s = math.fsum(recent) / len(recent)
        gap = max(qt - q50, 1.0)
        z = (s - m) / max(math.sqrt(v), 1 / 2.33)
        strange = 0.5 * (s - q50) / gap / 3 - 0.5 * math.log10(1 - NormalDist().cdf(z)) / 6
        out.append(strange)
        run = run + 1 if strange > 0.3 else 0
        rate = max(a, 1 / (n + weight + 1)) * (0.2 if 1 <= run <= 300 else 1)
        q50 += 5 * rate * gap * (0.5 if s > q50 else -0.5)
        qt = max(qt + 10 * rate * gap * (0.99 if s > qt else -0.01), q50 + 0.05)
        d = e - m
        m += rate * d
        v = (1 - rate) * (v + rate * d * d)
    return out


@pytest.mark.parametrize("short", [1, 8])
def test_it_says_what_its_formulas_say(short: int) -> None:
    """If it failed, scores would mean something else than what is written."""
    logs = course(1, 600)[0]
    kind = Strangeness("u", [PRIOR], short, 50)
    table, slots = table_of(kind, 1)
    found = [float(kind.step(table, slots, logs[i : i + 1, None])[0, 0]) for i in range(600)]
    assert_allclose(found, by_hand(logs.tolist(), PRIOR, short, 50), rtol=1e-4, atol=1e-5)


def test_streams_and_voices_do_not_touch_each_other() -> None:
    """If it failed, one stream's event would excuse another's."""
    logs = course(5, 500)
    many = Strangeness("u", [PRIOR, PRIOR], 8, 50)
    table, slots = table_of(many, 5)
    together = np.stack([many.step(table, slots, np.stack([logs[:, i], logs[::-1, i]], 1)) for i in range(500)], 1)
    for stream in range(5):
        alone, (own, slot) = Strangeness("u", [PRIOR], 8, 50), table_of(many, 1)
        own, slot = table_of(alone, 1)
        found = [alone.step(own, slot, logs[stream : stream + 1, i, None])[0, 0] for i in range(500)]
        assert_array_equal(found, together[stream, :, 0])
        assert_array_equal(found, together[4 - stream, :, 1])


def test_what_lasts_is_learned_and_what_passes_is_not() -> None:
    """If it failed, a new normal would alarm for ever, or an incident would end its own alarm."""
    logs = np.concatenate([course(1, 300)[0], np.random.default_rng(1).normal(3, 0.8, 4000)])
    kind = Strangeness("u", [PRIOR], 8, 50)
    table, slots = table_of(kind, 1)
    found = np.array([kind.step(table, slots, logs[i : i + 1, None])[0, 0] for i in range(len(logs))])
    assert found[320:500].min() > 0.3
    assert np.median(found[-500:]) < 0.3


def test_the_level_is_where_the_score_would_be() -> None:
    """If it failed, a line in raw units would not be the line that was promised."""
    kind = Strangeness("u", [PRIOR], 1, 50)
    table, slots = table_of(kind, 3)
    random = np.random.default_rng(3)
    for _ in range(200):
        kind.step(table, slots, random.normal(-1, 0.8, (3, 1)))
    for strange in (0.05, 0.36, 0.9, 1.5):
        at = kind.level(table, slots, np.full(3, strange))
        saved = {name: table[name].copy() for name in ("u_state", "u_seen", "u_run")}
        assert_allclose(kind.step(table, slots, at[:, None])[:, 0], strange, rtol=1e-9)
        for name, column in saved.items():
            table[name][:] = column


def test_an_event_is_learned_from_as_slowly_as_was_asked_for() -> None:
    """If it failed, bursts that come more often than the promised alerts would teach their line to be blind."""
    moved = []
    for protect in (1.0, 0.1):
        voice = Strangeness("v", [VoicePrior(0.0, 2.3, 0.0, 1.0)], 1, 1e9, event=0.6, protect=protect)
        table = StreamTable(voice.columns)
        slots = np.array([table.assign(b"s")], np.int32)
        table.admit(slots.astype(np.intp))
        said = [float(voice.step(table, slots, np.array([[log]]))[0, 0]) for log in (0.0, 2.0, 8.0)]
        assert said[1] < 0.6 < said[2]
        before = table["v_state"][slots[0], 0, 2]
        voice.step(table, slots, np.array([[8.0]]))
        moved.append(table["v_state"][slots[0], 0, 2] - before)
    assert moved[1] == pytest.approx(0.1 * moved[0], rel=0.01)
