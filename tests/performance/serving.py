"""The model as it is served, by each engine and with weights of 8 bits, beside ONNX Runtime's defaults."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from models import export, rounding
from models.bundle import Bundle
from models.serving import Model
from tests.performance import job

_POLL = 3_750
"""Windows that a poll of 30,000 records makes due."""

_SIZES = (1, 8, 32, 128, 512)


def model(bundle: Bundle, folder: Path, rounds: int) -> dict[str, Any]:
    """Windows a second of the model as it is served, by windows a call; and of a poll's windows both ways, in turn."""
    served, other = Model(bundle), Model(bundle, engine="openvino")
    windows = np.random.default_rng(0).normal(size=(_POLL, job.LENGTH, job.FEATURES)).astype(np.float32)
    plain = _plain(bundle, folder)
    small = Model(_rounded(bundle, folder))
    ways: dict[str, Callable[[Any], object]] = {
        "served": served.score,
        "int8": small.score,
        "openvino": other.score,
        "default": plain,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(max(3, rounds)):
        for name in sorted(ways, reverse=bool(turn % 2)):
            found[name].append(_rate(ways[name], windows, 1))
    sizes = {f"windows_per_second_at_{n}": _rate(served.score, windows[:n], max(1, 256 // n)) for n in _SIZES}
    cores = {f"{name}_cores": _cores(run, windows) for name, run in ways.items()}
    return {
        "windows_per_second": median(found["served"]),
        "default_session_windows_per_second": median(found["default"]),
        "to_default_session": median(s / d for s, d in zip(found["served"], found["default"], strict=True)),
        "int8_windows_per_second": median(found["int8"]),
        "int8_to_served": median(i / s for i, s in zip(found["int8"], found["served"], strict=True)),
        "int8_warm_up_seconds": small.warm_up,
        "graph_bytes": _graph_bytes(bundle),
        "int8_graph_bytes": _graph_bytes(small.bundle),
        "threads": served.threads,
        "warm_up_seconds": served.warm_up,
        "openvino_windows_per_second": median(found["openvino"]),
        "openvino_to_default_session": median(o / d for o, d in zip(found["openvino"], found["default"], strict=True)),
        "openvino_warm_up_seconds": other.warm_up,
        **cores,
        **sizes,
        "rounds": found,
    }


def _rate(run: Callable[[Any], object], windows: Any, calls: int) -> float:
    """Return windows a second, the best of three: noise of a shared machine only ever adds."""
    run(windows)
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(calls):
            run(windows)
        seconds.append(time.perf_counter() - begin)
    return len(windows) * calls / min(seconds)


def _cores(run: Callable[[Any], object], windows: Any) -> float:
    """Return how many cores a call keeps busy."""
    begin, cpu = time.perf_counter(), time.process_time()
    run(windows)
    return (time.process_time() - cpu) / (time.perf_counter() - begin)


def _rounded(bundle: Bundle, folder: Path) -> Bundle:
    """Return the bundle with weights of 8 bits, as `export --format onnx --int8` makes it."""
    made = folder / "int8"
    made.mkdir(exist_ok=True)
    return rounding.write(bundle, made)


def _graph_bytes(bundle: Bundle) -> int:
    """Return the size of a bundle's graphs."""
    return sum(bundle.manifest.files[name].size for name in rounding.graphs(bundle))


def _plain(bundle: Bundle, folder: Path) -> Callable[[Any], object]:
    """Return what scores windows with Keras' export in a session with ONNX Runtime's defaults, in one call."""
    import onnxruntime

    path = folder / "keras.onnx"
    network = export.restore(bundle).autoencoder
    network(np.zeros((1, job.LENGTH, job.FEATURES), np.float32))  # else it says that it was never called
    network.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def score(windows: Any) -> Any:
        (rebuilt,) = session.run(None, {name: windows})
        return np.square(windows - rebuilt).mean(axis=(1, 2))

    return score
