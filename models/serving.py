"""A bundle's graph under ONNX Runtime: scores of windows, the same bits whatever comes in one call.

Kernels may differ with the number of rows that they get, or with where in memory a row begins. So the graph only ever
runs on a few fixed numbers of windows, the `chunk` sizes. Loading finds out, on the bundle's own windows and in two
orders, which sizes give the same bits, and uses no others; on the processors measured so far (AVX-512) these were all
six. It takes the time of each as well: what is left over once the largest chunks are full goes through those that take
it soonest, the last of them padded. 17 windows are a chunk of 16 and one of 1, not one of 32 half full.
"""

from __future__ import annotations

import io
import os
import time
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.bundle import BundleError
from models.detector import ARRAYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.bundle import Bundle

CHUNKS = (1, 2, 4, 8, 16, 32)
"""The chunk sizes that are tried. An LSTM was measured fastest with 32 windows; larger chunks leave the cache."""

CALIBRATION = "calibration.npz"
_LARGEST_DETECTOR = 1 << 30  # bytes of a detector's arrays, unpacked
_KEPT_WINDOWS = 256  # of the calibration, at most
_HEADER = 65_536  # bytes that an archive of one array may have beside its numbers
_PROBES = 37  # windows that the sizes are compared on; not a multiple of any, so that padding is compared too


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says of n windows.

    Attributes:
        score: `(n,)` float32, mean error of the window's present cells; 0 if it has none.
        errors: `(n, F)` float32, mean error of each feature's present cells; 0 if it has none.
        reconstruction: `(n, L, F)` float32 in raw units, of every cell, also missing ones.
    """

    score: NDArray[np.float32]
    errors: NDArray[np.float32]
    reconstruction: NDArray[np.float32]

    def same(self, other: Scores) -> NDArray[np.bool_]:
        """Return for every window whether all figures are equal to the last bit."""
        equal: NDArray[np.bool_] = self.score == other.score
        equal &= (self.errors == other.errors).all(axis=1)
        equal &= (self.reconstruction == other.reconstruction).all(axis=(1, 2))
        return equal


class Graph:
    """An ONNX graph of the bundle's form in one ONNX Runtime session with one thread."""

    def __init__(self, content: bytes, length: int, features: int, probes: NDArray[np.float32]) -> None:
        """Load the graph, and find the chunk sizes that agree.

        Args:
            content: the ONNX file.
            length: rows of a window.
            features: features of a window.
            probes: windows `(p, L, F)` in raw units to compare chunk sizes on; none = the largest size alone is used.

        Raises:
            ValueError: if ONNX Runtime cannot load the graph, or it has other inputs or outputs.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        # Weights in a file of their own would be looked for in the working directory: there are none in a bundle.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions have no base class of their own
            message = f"ONNX Runtime cannot load the graph: {str(error).splitlines()[0]}"
            raise ValueError(message) from None
        self.length, self.features = length, features
        self._check()
        self._binding = self._session.io_binding()
        self._padded = np.zeros((max(CHUNKS), length, features), np.float32)
        self._spare = self._empty(max(CHUNKS))
        seconds = self._agreeing(np.ascontiguousarray(probes[:_PROBES], np.float32))
        self.chunk = tuple(sorted(seconds))
        self._covers = covers(seconds)

    def score(self, windows: NDArray[np.float32]) -> Scores:
        """Score windows `(n, L, F)` float32 in raw units, NaN = missing; n may be 0.

        Raises:
            ValueError: if the windows have another shape.
        """
        if windows.ndim != 3 or windows.shape[1:] != (self.length, self.features):  # noqa: PLR2004 - (n, L, F)
            message = f"windows have the shape {windows.shape}, (n, {self.length}, {self.features}) is needed"
            raise ValueError(message)
        return self._run(np.ascontiguousarray(windows, np.float32), self.chunk[-1], self._covers)

    def encode(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the codes `(n, Z)` of windows `(n, L, F)`."""
        codes: NDArray[np.float32] = self._session.run(["latent"], {"windows": windows})[0]
        return codes

    def _check(self) -> None:
        """Refuse a graph of another form."""
        inputs = {node.name: node.shape[1:] for node in self._session.get_inputs()}
        if inputs != {"windows": [self.length, self.features]}:
            message = f"the graph takes {inputs}, windows of [{self.length}, {self.features}] are needed"
            raise ValueError(message)
        missing = {"score", "errors", "reconstruction", "latent"} - {node.name for node in self._session.get_outputs()}
        if missing:
            message = f"the graph has no output {min(missing)}"
            raise ValueError(message)

    def _empty(self, count: int) -> Scores:
        """Return room for the figures of `count` windows."""
        return Scores(
            np.empty(count, np.float32),
            np.empty((count, self.features), np.float32),
            np.empty((count, self.length, self.features), np.float32),
        )

    def _run(self, windows: NDArray[np.float32], largest: int, covers: Sequence[Sequence[int]]) -> Scores:
        """Run in chunks; results are written where they belong, without a copy.

        Args:
            windows: `(n, L, F)`, contiguous.
            largest: size of the chunks that are full.
            covers: for each number of windows below it, the chunks that they go through; only the last may be padded.
        """
        count = len(windows)
        scores = self._empty(count)
        whole = count - count % largest
        for start in range(0, whole, largest):
            self._call(windows[start : start + largest], scores, start, largest)
        start = whole
        for size in covers[count - whole]:
            rest = count - start
            if size <= rest:
                self._call(windows[start : start + size], scores, start, size)
            else:
                self._padded[:rest], self._padded[rest:size] = windows[start:], windows[-1]
                self._call(self._padded, self._spare, 0, size)
                scores.score[start:] = self._spare.score[:rest]
                scores.errors[start:] = self._spare.errors[:rest]
                scores.reconstruction[start:] = self._spare.reconstruction[:rest]
            start += size
        return scores

    def _call(self, windows: NDArray[np.float32], scores: Scores, start: int, size: int) -> None:
        """Run the first `size` windows; their figures go into `scores` from `start` on."""
        binding, kind = self._binding, np.float32
        binding.bind_input("windows", "cpu", 0, kind, (size, self.length, self.features), windows.ctypes.data)
        for name in ("score", "errors", "reconstruction"):
            column: NDArray[np.float32] = getattr(scores, name)
            address = column.ctypes.data + start * column.strides[0]
            binding.bind_output(name, "cpu", 0, kind, (size, *column.shape[1:]), address)
        self._session.run_with_iobinding(binding)

    def _agreeing(self, probes: NDArray[np.float32]) -> dict[int, float]:
        """Return the chunk sizes that give the same bits for the same window in every place, and the time of a call.

        Where even the largest size does not agree with itself, each window runs alone: then nothing else can matter.
        """
        found: dict[int, float] = {}
        if len(probes) == 0:
            return {max(CHUNKS): 1.0}
        backwards = np.ascontiguousarray(probes[::-1])
        wanted: Scores | None = None
        for size in reversed(CHUNKS):
            padded = [(), *[(size,)] * (size - 1)]
            begin = time.perf_counter()
            there = self._run(probes, size, padded)
            between = time.perf_counter()
            back = self._run(backwards, size, padded)
            seconds = min(between - begin, time.perf_counter() - between) / -(-len(probes) // size)
            turned = Scores(back.score[::-1], back.errors[::-1], back.reconstruction[::-1])
            if there.same(turned).all() and (wanted is None or there.same(wanted).all()):
                wanted = there if wanted is None else wanted
                found[size] = seconds
        return found or {1: 1.0}


def covers(seconds: Mapping[int, float]) -> list[tuple[int, ...]]:
    """Return for each number of windows below the largest chunk the chunks that take them in the least time.

    Args:
        seconds: time of a call with a chunk of each size.

    Returns:
        Sizes, falling. All but the last are full: else the cover without the last would do, in less time.
    """
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for count in range(1, max(seconds)):
        ways = []
        for size, alone in seconds.items():
            rest, sizes = best[max(0, count - size)]
            ways.append((alone + rest, tuple(sorted((size, *sizes), reverse=True))))
        best.append(min(ways))
    return [sizes for _, sizes in best]


class Model:
    """The model of a bundle, ready to score.

    Attributes:
        bundle: where it came from; `bundle.manifest` has features, window, calibration and residuals.
        chunk: the numbers of windows that the graph is run on, rising, found to give the same bits on this machine.
        members: of a bundle with a detector, the graph of each part; they take that part's view of a window.
        arrays: what its voices measure distances by.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Load the graph.

        Raises:
            BundleError: if a file is not as the manifest says, or the graph is not one for these windows.
        """
        self.bundle = bundle
        manifest = bundle.manifest
        try:
            self.members, self.arrays = _detector(bundle)
            if self.members:
                self._graph = next(iter(self.members.values()))
            else:
                self._graph = Graph(
                    bundle.content(manifest.members[0].onnx),
                    manifest.window.length,
                    len(manifest.features),
                    _probes(bundle),
                )
        except ValueError as error:
            message = f"bundle {bundle.path}: {error}; train it again"
            raise BundleError(message) from None
        self.chunk = self._graph.chunk

    def score(self, windows: NDArray[np.float32]) -> Scores:
        """Score windows `(n, L, F)` float32 in raw units, NaN = missing.

        The figures of a window do not depend on the others in the call, to the last bit. No figure is NaN for values
        that are finite or NaN.

        Raises:
            ValueError: if the windows have another shape than the bundle's.
        """
        return self._graph.score(windows)

    def encode(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the codes `(n, Z)` float32 of windows; here the last bit may depend on the others in the call."""
        return self._graph.encode(windows)


def _detector(bundle: Bundle) -> tuple[dict[str, Graph], dict[str, NDArray[np.float64]]]:
    """Return the graphs and arrays of a bundle's detector, none if it has none."""
    detector, features = bundle.manifest.detector, len(bundle.manifest.features)
    if detector is None:
        return {}, {}
    random = np.random.default_rng(0)
    graphs = {}
    for part in detector.parts:
        if part.onnx is not None:
            probes = random.normal(size=(_PROBES, part.view.rows, features)).astype(np.float32)
            graphs[part.name] = Graph(bundle.content(part.onnx), part.view.rows, features, probes)
    found = arrays(bundle.content(ARRAYS), ARRAYS, _LARGEST_DETECTOR)
    return graphs, {name: array.astype(np.float64) for name, array in found.items()}


def arrays(content: bytes, name: str, most: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` file: nothing is unpickled, and no more than `most` bytes are unpacked.

    Raises:
        ValueError: if it is damaged, holds something else, or would unpack to more; the message names the file.
    """
    found: dict[str, NDArray[Any]] = {}
    left = most
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            for entry in packed.infolist():
                left -= entry.file_size  # of which no byte more is unpacked, whatever the file holds
                if left < 0:
                    message = f"it unpacks to more than {most} bytes"
                    raise ValueError(message)  # noqa: TRY301 - said as the others below
                file = io.BytesIO(packed.read(entry))
                found[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - zip, zlib and NumPy raise a dozen kinds for a damaged file
        message = f"{name} cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        raise ValueError(message) from None
    return found


def calibration_windows(bundle: Bundle) -> NDArray[np.float32]:
    """Return the normal windows `(k, L, F)` that the bundle was calibrated on, raw units, NaN = missing; maybe none.

    Raises:
        ValueError: if their file is damaged.
    """
    manifest = bundle.manifest
    if CALIBRATION not in manifest.files:
        return np.empty((0, manifest.window.length, len(manifest.features)), np.float32)
    most = _KEPT_WINDOWS * manifest.window.length * len(manifest.features) * 8 + _HEADER
    found = arrays(bundle.content(CALIBRATION), CALIBRATION, most).get("windows")
    if found is None or found.dtype.kind not in "fiu" or found.ndim == 0:
        message = f"{CALIBRATION} has no windows"
        raise ValueError(message)
    windows = found.astype(np.float32)
    if windows.ndim != 3 or windows.shape[1:] != (manifest.window.length, len(manifest.features)):  # noqa: PLR2004 - (n, L, F)
        message = f"{CALIBRATION} has windows of the shape {windows.shape}"
        raise ValueError(message)
    return windows


def _probes(bundle: Bundle) -> NDArray[np.float32]:
    """Return windows to compare chunk sizes on: some of the calibration's, every second one with noise and holes."""
    windows = calibration_windows(bundle)[:_PROBES].copy()
    random = np.random.default_rng(0)
    noise = random.normal(size=windows[::2].shape) * np.asarray(bundle.manifest.scaling.scale)
    windows[::2] += np.where(random.random(noise.shape) < 0.02, np.nan, noise)  # noqa: PLR2004 - two cells in a hundred
    return windows
