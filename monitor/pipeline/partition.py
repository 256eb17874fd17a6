"""Everything that is known of one input partition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from monitor.changes import Changes
from monitor.liveness import Liveness
from monitor.partition_time import PartitionTime
from monitor.table import AnyColumn, Column, StreamTable
from monitor.window import Windower


class Partition:
    """Everything that is known of one input partition.

    Attributes:
        topic: its topic.
        number: its number.
        table: the streams and their state.
        time: the partition's time.
        liveness: which streams are live.
        counts: records by class since the state began, without the pending ones.
        changes: what has changed since the last commit, where that is kept.
        barred: offsets of records that the process died of: no restore may decode them again.
        columns: all columns of the table.
        decision_columns: those that only scoring changes: line, alert machine, and when a stream was last active.
        activity_columns: those of them that every used record changes.
        slow_columns: those of the decision columns that change seldom, and are noted when they do.
        quick_columns: the other decision columns.
    """

    def __init__(
        self,
        topic: str,
        number: int,
        windower: Windower,
        decisions: Sequence[AnyColumn],
        liveness: Liveness,
        activity: Sequence[AnyColumn] = (),
    ) -> None:
        """Begin without state; `activity` are those of `decisions` that every used record changes."""
        self.topic = topic
        self.number = number
        self.activity_columns: Sequence[AnyColumn] = (*Liveness.ACTIVITY, *activity)
        self.decision_columns = (*Liveness.ACTIVITY, *decisions)
        self.slow_columns = tuple(column for column in decisions if isinstance(column, Column) and column.every > 1)
        self.quick_columns = tuple(column for column in self.decision_columns if column not in self.slow_columns)
        self.columns = (*Liveness.COLUMNS, *windower.columns, *decisions)
        self.table = StreamTable(self.columns)
        self.changes = Changes()
        self.barred: list[int] = []
        self.time = PartitionTime()
        self.liveness = liveness
        self.counts: Counter[str] = Counter()

    @property
    def key(self) -> tuple[str, int]:
        """Topic and number."""
        return (self.topic, self.number)
