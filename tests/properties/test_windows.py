"""Every record is in the windows that the semantics say, whatever the batches."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.duration import Duration
from monitor.record import Records, RecordSettings
from monitor.table import StreamTable
from monitor.window import Windower, WindowSettings
from tests.properties.reference import ReferenceStream, Window

STEP = 50
FEATURES = 2


@st.composite
def window_settings(draw: st.DrawFn) -> WindowSettings:
    """Draw small windows of every mode."""
    interval = draw(st.sampled_from([None, "4ms", "7ms"]))
    return WindowSettings(
        length=draw(st.integers(1, 6)),
        stride=draw(st.integers(1, 7)),
        interval=Duration(interval) if interval else None,
        aggregate=draw(st.sampled_from(["mean", "last", "min", "max", "sum"])),
        max_gap=draw(st.integers(0, 4)) if interval else 0,
        fill=draw(st.sampled_from(["hold", "linear"])),
        lateness=Duration(draw(st.sampled_from(["0s", "5ms", "11ms"]))),
    )


@st.composite
def record_lists(draw: st.DrawFn) -> list[tuple[int, int, list[float]]]:
    """Draw (stream, time, values) of up to three streams: mostly forward, sometimes back, repeated, or far ahead."""
    clocks = [1000, 1000, 1000]
    records = []
    moves = st.one_of(
        st.integers(1, 6),
        st.integers(1, 3),
        st.sampled_from([0, 0, -1, -3, -8, 12, 25, 60, 200, -100, -20]),
    )
    for _ in range(draw(st.integers(1, 60))):
        stream = draw(st.integers(0, 2))
        clocks[stream] = max(100, clocks[stream] + draw(moves))
        value = float(draw(st.integers(-8, 8)))
        kind = draw(st.integers(0, 5))
        values = [float("nan"), value] if kind == 0 else [value, float("nan")] if kind == 1 else [value, value + 0.5]
        records.append((stream, clocks[stream], values))
    return records


@given(window_settings(), record_lists(), st.lists(st.integers(1, 20), min_size=1), st.booleans())
@settings(max_examples=300, deadline=None)
def test_windows_equal_the_reference(
    window: WindowSettings, records: list[tuple[int, int, list[float]]], sizes: list[int], by_sensor: bool
) -> None:
    """If it failed, a record would be missing from a window, or a window would depend on how Kafka cut the batches."""
    if by_sensor and window.interval is None:
        by_sensor = False
    if by_sensor:
        records = [
            (s, t, [v[0], float("nan")] if i % 2 else [float("nan"), 1.0 * i]) for i, (s, t, v) in enumerate(records)
        ]
        records = [(s, t, [0.0, float("nan")] if all(np.isnan(v)) else v) for s, t, v in records]
    record = RecordSettings(max_step=Duration(f"{STEP}ms"), layout="long" if by_sensor else "wide")
    windower = Windower(window, record, FEATURES)
    table = StreamTable(windower.columns)
    reference = [ReferenceStream(window, STEP, by_sensor) for _ in range(3)]
    expected: list[list[Window]] = [[], [], []]
    for offset, (stream, time, values) in enumerate(records):
        expected[stream] += reference[stream].take((time, offset, np.array(values, np.float32)))
    for stream in range(3):
        assert table.assign(b"%d" % stream) == stream
    found: list[list[Window]] = [[], [], []]
    late: list[int] = []
    repeated: list[int] = []
    processed = at = turn = 0
    while at < len(records):
        part = records[at : at + sizes[turn % len(sizes)]]
        batch = Records(
            np.array([r[0] for r in part], np.int32),
            np.array([r[1] for r in part], np.int64),
            np.array([r[2] for r in part], np.float32),
            np.arange(at, at + len(part), dtype=np.int64),
        )
        out = windower.process(table, batch)
        late += out.late
        repeated += out.judged.repeated
        processed += out.processed
        w = out.windows
        for i in range(len(w)):
            found[w.slot[i]].append(
                (
                    w.values[i].tobytes(),
                    *(int(x[i]) for x in (w.start, w.end, w.low, w.high, w.due)),
                    float(w.missing[i]),
                    bool(w.restarted[i]),
                )
            )
        at += len(part)
        turn += 1
    assert found == expected
    assert sorted(late) == sorted(o for r in reference for o in r.late)
    assert sorted(repeated) == sorted(o for r in reference for o in r.repeated)
    assert processed == sum(r.processed for r in reference)
    assert windower.pending(table) + processed + len(late) + len(repeated) == len(records)
