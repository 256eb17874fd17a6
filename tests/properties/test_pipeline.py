"""What leaves the pipeline depends on the records, not on how they came."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitor import threshold
from monitor.alert import Alert, AlertSettings
from monitor.duration import Duration
from monitor.pipeline import Pipeline
from monitor.quality import ClockSkew, FlatLine, Quality, QualitySettings, SamplingRate, Silence
from monitor.record import Records, RecordSettings
from monitor.window import WindowSettings
from tests.properties.models import PRIOR, LevelModel

FEATURES = 2
LEFT_OVER = {"mark_time", "mark_low", "mark_high", "held_offset", "held_values"}
"""Columns in which values stay that nothing reads any more."""

QUALITY = Quality(
    QualitySettings(
        flat_line=FlatLine(after=Duration("4ms"), accept=Duration("40ms")),
        missing_feature=Duration("3ms"),
        out_of_range={"up": (None, 7.0)},
        sampling_rate=SamplingRate(factor=1.2, after=Duration("5ms"), accept=Duration("80ms")),
        clock_skew=ClockSkew(max=Duration("10ms"), after=Duration("8ms")),
        silence=Silence(factor=1.5, min=Duration("10ms")),
    ),
    ["up", "down"],
)

Row = tuple[int, bytes, int, list[float]]  # partition, stream, time, values


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Draw records of two partitions with a few streams each: bursts, silences, clocks that jump."""
    clocks: dict[tuple[int, bytes], int] = {}
    base = 10_000
    found = []
    for _ in range(draw(st.integers(1, 150))):
        partition = draw(st.integers(0, 1))
        stream = b"s%d" % draw(st.integers(0, 5))
        base += draw(st.sampled_from([0, 1, 1, 2, 5, 40]))
        last = clocks.get((partition, stream), base)
        time = max(last + 1, base) if draw(st.integers(0, 9)) else last + draw(st.sampled_from([0, -3, -50, 30, 200]))
        clocks[partition, stream] = time
        level = draw(st.sampled_from([0.1, 0.5, 1.0, 1.0, 6.0, 9.0]))
        missing = draw(st.integers(0, 12)) == 0
        found.append((partition, stream, max(time, 1), [float("nan") if missing else level, -level]))
    return found


def stamps(mine: list[Row], first: int) -> NDArray[np.int64]:
    """Return Kafka's timestamps of rows with offsets from `first`: some near their time, some far, some not there."""
    offset = np.arange(first, first + len(mine))
    time = np.array([row[2] for row in mine], np.int64)
    return np.where(offset % 11 == 3, -1, time + np.where(offset // 25 % 2 == 0, 3, 40))


def run(
    pipeline: Pipeline, records: list[Row], sizes: list[int]
) -> tuple[list[Alert], list[list[Any]], dict[int, tuple[Any, ...]]]:
    """Run the records in batches of these sizes."""
    partitions = {number: pipeline.partition("t", number) for number in (0, 1)}
    offsets = dict.fromkeys(partitions, 0)
    alerts: list[Alert] = []
    lost: dict[str, list[Any]] = {"late": [], "repeated": [], "refused": []}
    at = turn = 0
    while at < len(records):
        part = records[at : at + sizes[turn % len(sizes)]]
        at += len(part)
        turn += 1
        work = []
        for number, partition in partitions.items():
            mine = [row for row in part if row[0] == number]
            slots = [partition.table.assign(row[1]) for row in mine]
            work.append(
                (
                    partition,
                    Records(
                        np.array(slots, np.int32),
                        np.array([row[2] for row in mine], np.int64),
                        np.array([row[3] for row in mine], np.float32).reshape(-1, FEATURES),
                        np.arange(offsets[number], offsets[number] + len(mine), dtype=np.int64),
                        stamps(mine, offsets[number]),
                    ),
                )
            )
            offsets[number] += len(mine)
        output = pipeline.process(work)
        alerts += output.alerts
        for name, found in lost.items():
            found += [(key, offset) for key, values in getattr(output, name).items() for offset in values]
    end = {
        number: (
            partition.time.value,
            dict(partition.counts),
            pipeline.pending(partition),
            {
                partition.table.id_of(int(slot)): tuple(
                    (name, column[slot].tobytes())
                    for name, column in partition.table._arrays.items()
                    if name not in LEFT_OVER
                )
                for slot in partition.table.live()
            },
        )
        for number, partition in partitions.items()
    }
    return sorted(alerts, key=lambda a: a.order), [sorted(found) for found in lost.values()], end


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """Draw a pipeline with short memories, so that everything that can happen does."""
    kind = draw(
        st.sampled_from(
            [
                threshold.Static.Settings(value=4.0),
                threshold.Tracked.Settings(q=0.9, half_life=10, prior_weight=3),
                threshold.Tracked.Settings(alerts_per_stream_per_day=5.0, half_life=Duration("1s")),
                threshold.P2.Settings(q=0.9, prior_weight=2),
                threshold.RollingQuantile.Settings(q=0.9, size=5, prior_weight=2),
            ]
        )
    )
    interval = draw(st.sampled_from([None, None, "5ms"]))
    return Pipeline(
        RecordSettings(
            max_step=Duration("100ms"),
            expire=Duration(draw(st.sampled_from(["150ms", "400ms"]))),
            max_streams=draw(st.sampled_from([3, 100])),
        ),
        WindowSettings(
            length=draw(st.integers(1, 3)),
            stride=draw(st.integers(1, 2)),
            interval=Duration(interval) if interval else None,
            max_gap=draw(st.integers(0, 2)) if interval else 0,
            lateness=Duration(draw(st.sampled_from(["0s", "0s", "4ms"]))),
            max_missing=draw(st.sampled_from([0.2, 0.5])),
        ),
        kind,
        AlertSettings(
            open_after=draw(st.integers(1, 2)),
            resolve_after=draw(st.integers(1, 3)),
            rest=draw(st.sampled_from([0, 2, Duration("20ms")])),
            expire=Duration(draw(st.sampled_from(["60ms", "1s"]))),
        ),
        LevelModel(),
        PRIOR,
        FEATURES,
        quality=draw(st.sampled_from([None, QUALITY])),
    )


def plain(alerts: list[Alert]) -> list[tuple[Any, ...]]:
    """Return what two equal runs share, arrays as bytes."""
    return [
        tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in (getattr(a, n) for n in a.__slots__))
        for a in alerts
    ]


@given(pipelines(), rows(), st.lists(st.integers(1, 40), min_size=1))
@settings(max_examples=40, deadline=None)
def test_batches_do_not_matter(pipeline: Pipeline, records: list[Row], sizes: list[int]) -> None:
    """If it failed, an alert would depend on how many records Kafka happened to return."""
    alone, alone_lost, alone_end = run(pipeline, records, [1])
    together, together_lost, together_end = run(pipeline, records, sizes)
    assert plain(together) == plain(alone)
    assert together_lost == alone_lost
    assert together_end == alone_end
    for number in (0, 1):
        _, counts, pending, _ = alone_end[number]
        assert sum(counts.values()) + pending == sum(1 for row in records if row[0] == number)
    firing: dict[str, str] = {}
    for alert in alone:
        event(f"{alert.kind} {alert.status}")
        assert (alert.status == "firing") == (alert.revision == 0)
        assert firing.get(alert.alert_id) == (None if alert.revision == 0 else "firing")
        firing[alert.alert_id] = alert.status
