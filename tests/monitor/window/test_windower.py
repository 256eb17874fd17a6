"""The window stage as a whole."""

from __future__ import annotations

import numpy as np

from monitor.duration import Duration
from monitor.record import RecordSettings
from monitor.table import StreamTable
from monitor.window import Windower, WindowSettings
from tests.monitor.batches import live, records


def windower(**settings: str) -> Windower:
    """Return a window stage for one feature."""
    return Windower(
        WindowSettings.model_validate({"length": 2, "stride": 1, **settings}),
        RecordSettings(max_step=Duration("1s")),
        1,
    )


def test_every_record_is_counted_once() -> None:
    """If it failed, records would be lost without a trace."""
    stage = windower(lateness="20ms")
    table = live(StreamTable(stage.columns), 2)
    samples = [(0, 100, 1.0), (1, 100, 1.0), (0, 130, 1.0), (0, 110, 1.0), (0, 110, 1.0), (0, 90, 1.0), (0, 9_000, 1.0)]
    out = stage.process(table, records(samples))
    assert (out.processed, out.late, out.judged.repeated) == (2, [5], [4])
    assert stage.pending(table) == 3  # 130, the other stream's, and the held one
    assert out.processed + len(out.late) + len(out.judged.repeated) + stage.pending(table) == len(samples)


def test_unfinished() -> None:
    """If it failed, records of a dropped stream would be in no class, or another stream's would be taken for them."""
    stage = windower(interval="10ms")
    table = live(StreamTable(stage.columns), 3)
    stage.process(table, records([(0, 100, 1.0), (1, 100, 1.0), (0, 101, 1.0), (1, 50_000, 1.0), (2, 100, 1.0)], 40))
    assert stage.unfinished(table, np.array([0])) == [40, 42]
    assert sorted(stage.unfinished(table, np.array([1, 2]))) == [41, 43, 44]
    assert stage.unfinished(table, np.zeros(0, np.intp)) == []


def test_no_column_is_declared_twice() -> None:
    """If it failed, two parts of the stage would write over each other."""
    for settings in ({}, {"lateness": "1s"}, {"interval": "1s"}, {"interval": "1s", "lateness": "1s"}):
        StreamTable(windower(**settings).columns)


def test_the_stage_of_a_plain_configuration_keeps_no_waiting_records() -> None:
    """If it failed, streams that need no order would pay for it in memory."""
    names = {column.name for column in windower().columns}
    assert names.isdisjoint({"waiting", "final", "due_at", "filled", "mark_high"})
