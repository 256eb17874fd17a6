"""A graph in chunks, one after the other and side by side."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.quantization import quantize_dynamic

from models import graph as graphs
from models import workers
from models.bundle import Bundle
from models.chunk import CHUNKS, Lane, Scores
from models.graph import Graph
from models.serving import Model, calibration_windows


@pytest.fixture(scope="module")
def windows(bundle: Bundle) -> np.ndarray:
    """300 windows, some with holes and far values."""
    random = np.random.default_rng(5)
    made = np.resize(calibration_windows(bundle), (300, 12, 2)).astype(np.float64)
    made += random.normal(size=made.shape) * (random.random((300, 1, 1)) < 0.5) * 20
    made[random.random(made.shape) < 0.05] = np.nan
    return made.astype(np.float32)


def load(bundle: Bundle, threads: int | None) -> Graph:
    """Return the bundle's graph for so many threads."""
    return Graph(bundle.content("model.onnx"), 12, 2, calibration_windows(bundle), threads)


@pytest.fixture(scope="module")
def served(bundle: Bundle) -> dict[int, Graph]:
    """The bundle's graph for one, two, three and five threads."""
    return {threads: load(bundle, threads) for threads in (1, 2, 3, 5)}


@pytest.fixture(scope="module")
def wanted(served: dict[int, Graph], windows: np.ndarray) -> Scores:
    """The figures of all windows, each scored alone, in one thread."""
    alone = [served[1].score(windows[i : i + 1]) for i in range(len(windows))]
    return Scores(
        *(np.concatenate([getattr(s, name) for s in alone]) for name in ("score", "errors", "reconstruction"))
    )


def part(scores: Scores, start: int, stop: int) -> Scores:
    """Return the figures of some windows."""
    return Scores(scores.score[start:stop], scores.errors[start:stop], scores.reconstruction[start:stop])


def test_chunk_sizes_that_differ_are_not_used(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU whose kernels differ with the batch would give other bits for each poll."""
    run = Graph._run

    def other(self: Graph, batch: np.ndarray, size: int, padded: list[tuple[int, ...]]) -> Scores:
        """Have chunks of one and four windows differ in the last bit, as a kernel of their own would."""
        scores = run(self, batch, size, padded)
        if size in {1, 4}:
            scores.score[:] = np.nextafter(scores.score, np.float32(9))
        return scores

    monkeypatch.setattr(Graph, "_run", other)
    assert Model(bundle).chunk == tuple(size for size in CHUNKS if size not in {1, 4})


@pytest.mark.parametrize("threads", [1, 3])
def test_windows_run_alone_where_a_graph_scales_by_the_whole_chunk(
    bundle: Bundle, windows: np.ndarray, tmp_path: Path, threads: int
) -> None:
    """A quantised graph would give a window scores that depend on its neighbours in the poll."""
    model, quantised = tmp_path / "model.onnx", tmp_path / "quantised.onnx"
    model.write_bytes(bundle.content("model.onnx"))
    quantize_dynamic(model, quantised)
    graph = Graph(quantised.read_bytes(), 12, 2, calibration_windows(bundle), threads)
    assert graph.chunk == (1,)
    assert graph.score(windows[5:17]).same(part(graph.score(windows), 5, 17)).all()


def test_windows_run_alone_where_their_place_matters(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that depends on the place in the batch would break the promise silently."""
    run = Graph._run

    def other(self: Graph, batch: np.ndarray, size: int, padded: list[tuple[int, ...]]) -> Scores:
        """Have the place in the batch change the last bit, except in chunks of one."""
        scores = run(self, batch, size, padded)
        if size != 1:
            scores.score[0] = np.nextafter(scores.score[0], np.float32(9))
        return scores

    monkeypatch.setattr(Graph, "_run", other)
    assert Model(bundle).chunk == (1,)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([1, 2, 3, 5]), st.lists(st.integers(0, 300), max_size=4))
def test_figures_depend_neither_on_threads_nor_on_calls(
    served: dict[int, Graph], windows: np.ndarray, wanted: Scores, threads: int, cuts: list[int]
) -> None:
    """Another machine, or a poll that is cut otherwise, would give other alerts."""
    edges = [0, *sorted(cuts), 300]
    for start, stop in pairwise(edges):
        assert served[threads].score(windows[start:stop]).same(part(wanted, start, stop)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 300), st.integers(1, 5))
def test_every_division_is_whole(
    served: dict[int, Graph], windows: np.ndarray, wanted: Scores, threads: int, count: int, ways: int
) -> None:
    """Windows would be left out, or scored twice, where a call is divided otherwise than on the machine at hand."""
    divided = [min(threads, ways)] * (threads * max(CHUNKS))
    found = served[1]._side_by_side(windows[:count], threads, divided)
    assert found.same(part(wanted, 0, count)).all()


def test_a_few_windows_stay_with_the_thread_that_asks(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every small poll would pay for threads that do not make it faster."""
    graph = load(bundle, 2)
    monkeypatch.setattr(workers.WORKERS, "run", lambda *_: pytest.fail("other threads were asked"))
    graph.score(np.zeros((1, 12, 2), np.float32))


@pytest.mark.parametrize(
    ("most", "faster", "found"), [(1, 1, 1), (2, 2, 2), (6, 9, 6), (8, 3, 4), (8, 0.7, 1), (8, 1, 2)]
)
def test_as_many_threads_as_gain_something(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, most: int, faster: float, found: int
) -> None:
    """A core more would be kept busy for nothing, or one that helps left idle."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    run, together = Graph._run, Graph._side_by_side

    def alone(self: Graph, batch: np.ndarray, size: int, padded: list[tuple[int, ...]]) -> Scores:
        """Take 1 ms for a window, and for one that fills a chunk up."""
        clock[0] += -(-len(batch) // size) * size / 1000
        return run(self, batch, size, padded)

    def beside(self: Graph, batch: np.ndarray, threads: int, ways: list[int]) -> Scores:
        """Be faster by the number of threads, up to a limit."""
        clock[0] += len(batch) / 1000 / min(threads, faster)
        return together(self, batch, threads, ways)

    monkeypatch.setattr(Graph, "_run", alone)
    monkeypatch.setattr(Graph, "_side_by_side", beside)
    monkeypatch.setattr(graphs, "cores", lambda: most)
    graph = load(bundle, None)
    assert graph.threads == found
    assert graph.rate == pytest.approx(1000 * (1 if found == 1 else min(faster, found)), rel=1e-6)


def test_threads_that_change_a_bit_are_not_used(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that sets another rounding in one thread would give scores that depend on which one had the window."""
    together = Graph._side_by_side

    def other(self: Graph, batch: np.ndarray, threads: int, ways: list[int]) -> Scores:
        """Have the last window differ in its last bit."""
        scores = together(self, batch, threads, ways)
        scores.score[-1] = np.nextafter(scores.score[-1], np.float32(9))
        return scores

    monkeypatch.setattr(Graph, "_side_by_side", other)
    assert load(bundle, 2).threads == 1


def test_what_fails_in_a_thread_reaches_the_caller(
    bundle: Bundle, windows: np.ndarray, wanted: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows without figures would be published as if they had some."""
    graph = load(bundle, 3)
    with monkeypatch.context() as changed:
        run = Lane.run

        def broken(
            self: Lane, rows: np.ndarray, scores: Scores, which: tuple[int, int], largest: int, sizes: list[list[int]]
        ) -> None:
            """Fail at one of the parts."""
            if which[0] == 2 * max(CHUNKS):
                message = "no memory"
                raise MemoryError(message)
            run(self, rows, scores, which, largest, sizes)

        changed.setattr(Lane, "run", broken)
        for _ in range(20):
            with pytest.raises(MemoryError, match="no memory"):
                graph.score(windows)
    assert graph.score(windows).same(wanted).all()


def test_a_graph_may_be_asked_by_several_threads(served: dict[int, Graph], windows: np.ndarray, wanted: Scores) -> None:
    """Two who score at once would write into each other's memory."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as callers:
        for scores in callers.map(served[2].score, [windows] * 24):
            assert scores.same(wanted).all()


def test_a_graph_of_another_form_is_refused(bundle: Bundle) -> None:
    """A bundle put together from two would be served until the first window came."""
    with pytest.raises(ValueError, match=r"windows of \[24, 2\] are needed"):
        Graph(bundle.content("model.onnx"), 24, 2, np.empty((0, 24, 2), np.float32))
    with pytest.raises(ValueError, match="cannot load the graph"):
        Graph(b"no graph", 12, 2, np.empty((0, 12, 2), np.float32))


def test_a_bundle_without_calibration_windows_uses_one_size(bundle: Bundle) -> None:
    """Sizes that nobody compared would be used."""
    graph = Graph(bundle.content("model.onnx"), 12, 2, np.empty((0, 12, 2), np.float32))
    assert graph.chunk == (max(CHUNKS),)
