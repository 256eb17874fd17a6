"""A bundle's graph under an engine: figures of windows, the same bits whatever comes in one call.

Kernels may differ with the number of rows that they get, or with where in memory a row begins. So the graph only ever
runs on a few fixed numbers of windows, the `chunk` sizes. Loading finds out, on the bundle's own windows and in two
orders, which sizes give the same bits, and uses no others; on the processors measured so far (AVX-512) these were all
six. It takes the time of each as well: what is left over once the largest chunks are full goes through those that take
it soonest, the last of them padded. 17 windows are a chunk of 16 and one of 1, not one of 32 half full.

A chunk runs on one thread, and chunks run side by side (`models.workers`): an engine's own threads share out what is
inside of one operator, which gains a recurrent network little. How many threads, loading measures too. They take chunks
from one queue, so that a thread whose core is taken by something else delays a call by no more than a chunk. Few
windows stay with the thread that asks, unless they are done clearly sooner in parts.
"""

from __future__ import annotations

import time
from collections import deque
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from models import engines
from models.chunk import CHUNKS, PROBES, Lane, Scores, covers, repeated
from models.workers import WORKERS, cores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from models.engines import EngineName

_LOOK = 0.005  # seconds that a look at a number of threads takes, with one chunk a thread at least
_ROUNDS = 5  # looks; a core that was idle needs some milliseconds until it is as fast as it gets
_MOST = 0.2  # seconds after which no other look begins but the first at a number of threads
_GAIN = 1.05  # so many times faster more threads than two must be
_DOUBT = 0.8  # and two: a core that was idle may take half a second until it is fast
_CLEARLY = 4 / 3  # the same, where a call for a few windows is to be divided


class Graph:
    """An ONNX graph of the bundle's form.

    Attributes:
        length: rows of a window.
        features: features of a window.
        chunk: the numbers of windows that it is run on, rising.
        threads: how many chunks run side by side at most.
        rate: windows a second, as seen while loading; 0 where there was nothing to try with.
    """

    def __init__(
        self,
        content: bytes,
        length: int,
        features: int,
        probes: NDArray[np.float32],
        threads: int | None = 1,
        engine: EngineName = "onnxruntime",
    ) -> None:
        """Load the graph, and find the chunk sizes that agree.

        Args:
            content: the ONNX file.
            length: rows of a window.
            features: features of a window.
            probes: windows `(p, L, F)` in raw units to compare chunk sizes on; none = the largest size alone is used.
            threads: how many chunks run side by side; None = as many as are measured fastest.
            engine: what runs it.

        Raises:
            ValueError: if the engine cannot load the graph, or it has other inputs or outputs.
        """
        self._engine = engines.load(engine, content, length, features)
        self.length, self.features = length, features
        self._lanes: deque[Lane] = deque()
        some = np.ascontiguousarray(probes[:PROBES], np.float32)
        self._seconds = self._agreeing(some)
        self.chunk = tuple(sorted(self._seconds))
        self._covers = covers(self._seconds)
        self.threads, self.rate = self._fastest(some, threads)
        self._ways = self._divided(some)

    def score(self, windows: NDArray[np.float32]) -> Scores:
        """Score windows `(n, L, F)` float32 in raw units, NaN = missing; n may be 0.

        Raises:
            ValueError: if the windows have another shape.
        """
        if windows.ndim != 3 or windows.shape[1:] != (self.length, self.features):  # noqa: PLR2004 - (n, L, F)
            message = f"windows have the shape {windows.shape}, (n, {self.length}, {self.features}) is needed"
            raise ValueError(message)
        windows = np.ascontiguousarray(windows, np.float32)
        if self.threads == 1 or (len(windows) < len(self._ways) and self._ways[len(windows)] == 1):
            return self._run(windows, self.chunk[-1], self._covers)
        return self._side_by_side(windows, self.threads, self._ways)

    def encode(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the codes `(n, Z)` of windows `(n, L, F)`."""
        return self._engine.encode(windows)

    def _empty(self, count: int) -> Scores:
        """Return room for the figures of `count` windows."""
        return Scores(
            np.empty(count, np.float32),
            np.empty((count, self.features), np.float32),
            np.empty((count, self.length, self.features), np.float32),
        )

    def _run(self, windows: NDArray[np.float32], largest: int, covers: Sequence[Sequence[int]]) -> Scores:
        """Run in chunks, one after the other, in this thread.

        Args:
            windows: `(n, L, F)`, contiguous.
            largest: size of the chunks that are full.
            covers: for each number of windows below it, the chunks that they go through; only the last may be padded.
        """
        scores = self._empty(len(windows))
        lane = self._lane()
        lane.run(windows, scores, (0, len(windows)), largest, covers)
        self._lanes.append(lane)
        return scores

    def _side_by_side(self, windows: NDArray[np.float32], threads: int, ways: Sequence[int]) -> Scores:
        """Run in chunks, in this thread and others.

        Args:
            windows: `(n, L, F)`, contiguous.
            threads: in how many threads.
            ways: for each number of windows below a full chunk for each thread, in how many parts they are done.
        """
        largest, count = self.chunk[-1], len(windows)
        scores = self._empty(count)
        whole = count - count % (threads * largest)
        rest = count - whole
        edges = [*range(0, whole, largest), *(whole + np.linspace(0, rest, ways[rest] + 1).astype(int)).tolist()]
        parts = deque(pairwise(edges))

        def work() -> None:
            lane = self._lane()
            while parts:
                try:
                    part = parts.popleft()
                except IndexError:  # another thread took the last one in between
                    break
                try:
                    lane.run(windows, scores, part, largest, self._covers)
                except BaseException:
                    parts.clear()  # nobody wants the rest any more
                    raise
            self._lanes.append(lane)

        WORKERS.run(work, min(threads, len(parts)) - 1)
        return scores

    def _lane(self) -> Lane:
        """Return what a thread runs the graph with, which no other has meanwhile."""
        try:
            return self._lanes.pop()
        except IndexError:
            return Lane(self._engine.call(), self._empty(max(CHUNKS)))

    def _agreeing(self, probes: NDArray[np.float32]) -> dict[int, float]:
        """Return the chunk sizes that give the same bits for a window in every place, and the time of a call.

        The largest is looked at in other company, too, which is far away: a graph that scales by the whole chunk, as
        ONNX Runtime's dynamic quantisation does, passes with some windows by chance. Where no other size agrees with
        itself, each window runs alone: then nothing else can matter.
        """
        found: dict[int, float] = {}
        if len(probes) == 0:
            return {max(CHUNKS): 1.0}
        backwards = np.ascontiguousarray(probes[::-1])
        loud = probes.copy()
        with np.errstate(over="ignore"):  # the graph holds what it gets within limits
            loud[1::2] *= 1_000
        wanted: Scores | None = None
        for size in reversed(self._engine.chunks):
            padded = [(), *[(size,)] * (size - 1)]
            begin = time.perf_counter()
            there = self._run(probes, size, padded)
            between = time.perf_counter()
            back = self._run(backwards, size, padded)
            seconds = min(between - begin, time.perf_counter() - between) / -(-len(probes) // size)
            turned = Scores(back.score[::-1], back.errors[::-1], back.reconstruction[::-1])
            if not there.same(turned).all():
                continue
            if wanted is None:
                fits = there.same(self._run(loud, size, padded))[::2].all()
                wanted = there if fits else None
            else:
                fits = there.same(wanted).all()
            if fits:
                found[size] = seconds
        return found or {1: 1.0}

    def _fastest(self, probes: NDArray[np.float32], threads: int | None) -> tuple[int, float]:
        """Return how many threads are to run chunks, and the windows a second that they did.

        Twice as many are looked at as long as they gain something, and give the same bits; two are used unless they are
        clearly slower than one. The largest chunks are run, each thread a few of them, and the best of some looks
        counts: what else runs on the machine only ever costs.
        """
        largest, most = self.chunk[-1], threads or cores()
        if len(probes) == 0:
            return threads or 1, 0.0
        alone = self._seconds[largest]
        best, rate = 1, largest / alone
        wanted = self._run(probes, largest, self._covers)
        begin, each = time.perf_counter(), max(1, min(8, round(_LOOK / alone)))
        for number in _doubled(most) if threads is None else {most} - {1}:
            windows = repeated(probes, number * each * largest)
            fastest = 0.0
            for turn in range(_ROUNDS):
                if turn and time.perf_counter() - begin > _MOST:
                    break
                started = time.perf_counter()
                scores = self._side_by_side(windows, number, [1])
                fastest = max(fastest, len(windows) / (time.perf_counter() - started))
                if not scores.same(wanted.repeated(len(windows))).all():
                    return best, rate
            if threads is None and fastest < rate * (_DOUBT if number == 2 else _GAIN):  # noqa: PLR2004 - two threads
                break
            best, rate = number, fastest
        return best, rate

    def _divided(self, probes: NDArray[np.float32]) -> list[int]:
        """Return for each number of windows below a full chunk for each thread, in how many parts they are done.

        What another thread's help costs is looked at with a few windows for each; one part where it gains little.
        """
        threads, largest = self.threads, self.chunk[-1]
        every = threads * largest
        if threads == 1 or len(probes) == 0:
            return [threads] * every
        few = self.chunk[len(self.chunk) // 2]
        windows = repeated(probes, threads * few)
        looks = []
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            self._side_by_side(windows, threads, [threads] * every)
            looks.append(time.perf_counter() - started)
        help_costs = max(0.0, median(looks) - self._seconds[few])
        found = [1]
        for count in range(1, every):
            alone = self._takes(count)
            ways = {way: self._takes(-(-count // way)) + help_costs for way in range(2, threads + 1)}
            best = min(ways, key=ways.__getitem__)
            found.append(best if ways[best] * _CLEARLY < alone else 1)
        return found

    def _takes(self, count: int) -> float:
        """Return the seconds of so many windows in one thread."""
        largest = self.chunk[-1]
        return count // largest * self._seconds[largest] + sum(self._seconds[n] for n in self._covers[count % largest])


def _doubled(most: int) -> Iterator[int]:
    """Yield 2, 4, 8 and so on below `most`, and at last `most`; nothing if that is 1."""
    number = 2
    while number < most:
        yield number
        number *= 2
    if most > 1:
        yield most
