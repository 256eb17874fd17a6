"""Training beside a plain `model.fit` on an array of windows: windows a second, and memory by the recording's length.

Each way runs in a process of its own, which takes its orders as JSON on the command line and answers in JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from models.base import Shape, find
from models.cells import Cells
from models.feeding import Feed
from models.fitting import Fitter
from models.scaling import Scaling
from models.settings import TrainSettings
from tests.integration.daemon import environment
from tests.performance import job, memory

_STREAM_ROWS = 1_000
_VALIDATION = 256
_MB = 1_000_000


def training(rows: int, rounds: int) -> dict[str, Any]:
    """Compare windows a second of both ways, in turn; and, with several rounds, the memory of four times the rows."""
    found: dict[str, list[float]] = {"ours": [], "plain": []}
    peaks: dict[str, float] = {}
    for turn in range(rounds):
        for way in ("ours", "plain") if turn % 2 == 0 else ("plain", "ours"):
            answer = _run(way, rows)
            found[way].append(answer["windows_per_second"])
            peaks[way] = answer["peak_mb"]
    figures: dict[str, Any] = {}
    if rounds > 1:
        longer = {way: _run(way, 4 * rows)["peak_mb"] for way in peaks}
        figures = {
            "peak_mb_with_four_times_the_rows": longer["ours"],
            "plain_peak_mb_with_four_times_the_rows": longer["plain"],
            "bytes_a_further_row": (longer["ours"] - peaks["ours"]) * _MB / (3 * rows),
            "plain_bytes_a_further_row": (longer["plain"] - peaks["plain"]) * _MB / (3 * rows),
        }
    return {
        "rows": float(rows),
        "windows_per_second": median(found["ours"]),
        "plain_windows_per_second": median(found["plain"]),
        "ours_to_plain": median(o / p for o, p in zip(found["ours"], found["plain"], strict=True)),
        "peak_mb": peaks["ours"],
        "plain_peak_mb": peaks["plain"],
        **figures,
        "rounds": found,
    }


def _run(way: str, rows: int) -> dict[str, float]:
    """Train one way in a new process."""
    command = [sys.executable, "-m", "tests.performance.training", json.dumps({"way": way, "rows": rows})]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _cells(rows: int) -> Cells:
    """Return a recording of sines."""
    streams = max(1, rows // _STREAM_ROWS)
    row = np.tile(np.arange(_STREAM_ROWS), streams)
    numbers = np.random.default_rng(0).normal(scale=0.1, size=(len(row), job.FEATURES)).astype(np.float32)
    numbers += np.sin(row[:, None] / 5 + np.arange(job.FEATURES)).astype(np.float32)
    starts = np.arange(0, _STREAM_ROWS - job.LENGTH + 1, job.STRIDE)
    return Cells(
        numbers,
        np.repeat(np.arange(streams, dtype=np.int32), _STREAM_ROWS),
        (job.BEGIN_MS + 1_000 * row).astype(np.int64),
        (np.arange(streams)[:, None] * _STREAM_ROWS + starts).ravel().astype(np.int64),
        np.zeros(len(row), np.bool_),
    )


def _ours(cells: Cells, settings: TrainSettings, ended: Callable[[], None]) -> int:
    """Train as `tidegauge train` does; return the windows of an epoch."""
    shape = Shape(job.LENGTH, job.FEATURES)
    hyper = settings.resolve(shape)
    every = np.arange(len(cells.starts), dtype=np.int64)
    ones, zeros = (1.0,) * job.FEATURES, (0.0,) * job.FEATURES
    scaling = Scaling(method="none", offset=zeros, scale=ones, mean=zeros)
    training = Feed(cells, every, job.LENGTH, scaling, hyper.batch_size)
    validation = Feed(cells, every[:_VALIDATION], job.LENGTH, scaling, _VALIDATION)
    Fitter(find(settings.kind), shape, hyper).fit(training, validation, progress=lambda _: ended())
    return len(training.order(hyper.seed, 1))


def _plain(cells: Cells, settings: TrainSettings, ended: Callable[[], None]) -> int:
    """Train the same network as Keras' guides do; return the windows of an epoch."""
    import keras

    shape = Shape(job.LENGTH, job.FEATURES)
    hyper = settings.resolve(shape)
    windows = cells.gather(np.arange(len(cells.starts)), job.LENGTH)
    model = find(settings.kind).build(shape, hyper).autoencoder
    model.compile(optimizer=keras.optimizers.Adam(hyper.learning_rate), loss="mse")
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, _logs: ended())
    model.fit(
        windows,
        windows,
        batch_size=hyper.batch_size,
        epochs=hyper.epochs,
        validation_data=(windows[:_VALIDATION], windows[:_VALIDATION]),
        verbose=0,
        callbacks=[after],
    )
    return len(windows)


def main() -> None:
    """Train for two epochs; the first one, in which TensorFlow traces, is not measured."""
    orders = json.loads(sys.argv[1])
    moments: list[float] = []
    settings = TrainSettings(nodes=64, epochs=2)
    way = {"ours": _ours, "plain": _plain}[orders["way"]]
    windows = way(_cells(orders["rows"]), settings, lambda: moments.append(time.perf_counter()))
    first, last = moments
    answer = {"windows_per_second": windows / (last - first), "peak_mb": memory.peak_mb()}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
