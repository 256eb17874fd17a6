"""Dead letters of records that the codec had found good."""

from __future__ import annotations

import json

import numpy as np

from monitor.letters import Letters
from monitor.pipeline import Output
from monitor.sources.base import Batch, Rows

KEY = ("pumps.csv", 0)
NAN = float("nan")


def rows(first: int, *times: int) -> Rows:
    """Return rows of two streams in turn, from offset `first` on."""
    n = len(times)
    values = np.array([[0.1, NAN if row % 2 else 1000] for row in range(n)], np.float32)
    time = np.array(times, np.int64)
    return Rows(*KEY, ["a", "pümp"], np.arange(n, dtype=np.int32) % 2, time, values, np.arange(first, first + n))


def test_a_row_without_bytes_is_readable() -> None:
    """If it failed, the dead letter of a late row of CSV or Parquet would be empty."""
    letters = Letters(("pressure", "flow"), 3, lambda _: set())
    output = Output(late={KEY: [8]}, repeated={KEY: [7]}, refused={KEY: [9]})
    found = letters.of([rows(7, 5_000, 1_000, 0)], output)
    assert [(each.offset, each.reason, each.key) for each in found] == [
        (9, "cardinality", None),
        (8, "late", None),
        (7, "repeated", None),
    ]
    assert [json.loads(each.value or b"") for each in found] == [
        {"stream": "a", "time": "1970-01-01T00:00:00.000Z", "values": {"pressure": 0.1, "flow": 1000.0}},
        {"stream": "pümp", "time": "1970-01-01T00:00:01.000Z", "values": {"pressure": 0.1, "flow": None}},
        {"stream": "a", "time": "1970-01-01T00:00:05.000Z", "values": {"pressure": 0.1, "flow": 1000.0}},
    ]


def test_a_record_that_waited_is_still_known() -> None:
    """If it failed, a record that turns out late when another batch comes would be an empty letter."""
    waits = {1}
    letters = Letters(("pressure", "flow"), 3, lambda _: waits)
    assert letters.of([rows(0, 1_000, 2_000)], Output()) == []
    waits = {1, 3}
    assert letters.of([rows(2, 3_000, 4_000)], Output()) == []
    waits = set()
    found = letters.of([rows(4, 5_000)], Output(late={KEY: [1, 3]}))
    assert [json.loads(each.value or b"")["time"][-6:] for each in found] == ["2.000Z", "4.000Z"]
    assert letters.of([rows(5, 6_000)], Output(late={KEY: [1]}))[0].value is None

    batch = Batch(*KEY, [10, 12, 13], [-1] * 3, [b"a", b"b", None], [b"{}", b"{1}", b"{2}"])
    waits = {12}
    (letter,) = letters.of([batch], Output(late={KEY: [13]}))
    assert (letter.key, letter.value) == (None, b"{2}")
    letters.drop(("other", 0))
    (letter,) = letters.of([rows(20, 1)], Output(late={KEY: [12]}))
    assert (letter.key, letter.value) == (b"b", b"{1}")


def test_late_ones_only_where_they_are_wanted() -> None:
    """If it failed, a topic of dead letters would fill with records that are only late."""
    output = Output(late={KEY: [0]}, repeated={KEY: [1]}, refused={KEY: [2]})
    (letter,) = Letters(("pressure", "flow"), 3, None).of([rows(0, 1, 2, 3)], output)
    assert (letter.reason, letter.detail) == ("cardinality", "the partition has 3 live streams (record.max_streams)")
