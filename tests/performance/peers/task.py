"""What every peer's program is told, scores with, and says in the end. Runs in the peer's venv: nothing of tidegauge.

`python -m tests.performance.peers.NAME ORDERS`, ORDERS being JSON; the report is JSON on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import onnxruntime


@dataclass(frozen=True)
class Orders:
    """What is to be done.

    Attributes:
        bootstrap: the broker.
        topic: input, `{"values": {…}}` with key and timestamp.
        alerts: topic of the windows whose score is above the line.
        group: consumer group, new.
        onnx: the graph, raw windows in, scores out.
        count: records of the input.
        length: records of a window.
        stride: records from the end of a stream's window to the end of its next one.
        features: names of the values.
        line: score above which a window is an alert.
        folder: where a state store may lie.
        mode: which of a program's ways, if it has several.
    """

    bootstrap: str
    topic: str
    alerts: str
    group: str
    onnx: str
    count: int
    length: int
    stride: int
    features: tuple[str, ...]
    line: float
    folder: str
    mode: str = ""

    @classmethod
    def given(cls) -> Orders:
        """Return those of the command line."""
        fields = json.loads(sys.argv[1])
        return cls(**{**fields, "features": tuple(fields["features"])})


class Scorer:
    """The graph in a session with tidegauge's options.

    Attributes:
        windows: how many were scored.
        alerts: how many of them were above the line.
    """

    def __init__(self, orders: Orders) -> None:
        """Load the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self._session = onnxruntime.InferenceSession(orders.onnx, options, providers=["CPUExecutionProvider"])
        self._line = orders.line
        self.values = itemgetter(*orders.features)
        self.windows = self.alerts = 0

    def score(self, windows: Any) -> list[float | None]:
        """Return the score of each window (n, L, F) that is above the line, None for the others."""
        (scores,) = self._session.run(["score"], {"windows": np.asarray(windows, np.float32)})
        found = [float(each) if each > self._line else None for each in scores]
        self.windows += len(found)
        self.alerts += len(found) - found.count(None)
        return found


class Clock:
    """Time from the end of the first records' work to the end of the last ones'."""

    def __init__(self, count: int) -> None:
        """Wait for so many records."""
        self._count = count
        self._first = self.done = 0
        self._begin = self._end = (0.0, 0.0)

    def tick(self, records: int = 1) -> bool:
        """Note that so many more are done; return whether these were the last."""
        self.done += records
        if not self._first:
            self._begin, self._first = _now(), records
        if self.done < self._count:
            return False
        self.end()
        return True

    def end(self) -> None:
        """Note that now all is done."""
        self._end = _now()

    def report(self, scorer: Scorer) -> None:
        """Say what was done."""
        records = max(1, self.done - self._first)
        took, cpu = (end - begin for begin, end in zip(self._begin, self._end, strict=True))
        report = {"records": self.done, "rate": records / took, "cpu": cpu / records * 1e6}
        sys.stdout.write(json.dumps({**report, "windows": scorer.windows, "alerts": scorer.alerts}) + "\n")
        sys.stdout.flush()


def _now() -> tuple[float, float]:
    """Return the clock, and the processor time of this process."""
    return time.perf_counter(), time.process_time()
