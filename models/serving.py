"""A bundle as it is served: its graphs under ONNX Runtime, which give a window the same bits whatever else is scored.

Nothing of a bundle is run or unpickled but the graphs; `models.graph` says how they are.
"""

from __future__ import annotations

import io
import time
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from models import engines
from models.bundle import BundleError
from models.chunk import PROBES
from models.detector import ARRAYS
from models.graph import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.bundle import Bundle
    from models.chunk import Scores
    from models.engines import EngineName

CALIBRATION = "calibration.npz"
_LARGEST_DETECTOR = 1 << 30  # bytes of a detector's arrays, unpacked
_KEPT_WINDOWS = 256  # of the calibration, at most
_HEADER = 65_536  # bytes that an archive of one array may have beside its numbers


class Model:
    """The model of a bundle, ready to score.

    Attributes:
        bundle: where it came from; `bundle.manifest` has features, window, calibration and residuals.
        chunk: the numbers of windows that the graph is run on, rising, found to give the same bits on this machine.
        threads: how many chunks run side by side at most; of a detector's graphs, of the one with most.
        rate: windows a second, as seen while loading; of a detector's members, one after the other.
        warm_up: seconds that loading took, with the looks that chunks and threads were chosen by.
        members: of a bundle with a detector, the graph of each part; they take that part's view of a window.
        arrays: what its voices measure distances by.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, engine: EngineName = "onnxruntime") -> None:
        """Load the graph.

        Args:
            bundle: where it is.
            threads: how many chunks run side by side; None = as many as are measured fastest here. Scores do not
                depend on it, to the last bit.
            engine: what runs the graph. Scores of two engines differ in their last bits.

        Raises:
            BundleError: if a file is not as the manifest says, the graph is not one for these windows, or the engine is
                not installed.
        """
        if engines.missing(engine):
            message = f"model.engine {engine} is not installed here: pip install 'tidegauge[{engine}]', or leave it out"
            raise BundleError(message)
        begin = time.perf_counter()
        self.bundle = bundle
        manifest = bundle.manifest
        try:
            self.members, self.arrays = _detector(bundle, threads, engine)
            if self.members:
                self._graph = next(iter(self.members.values()))
            else:
                self._graph = Graph(
                    bundle.content(manifest.members[0].onnx),
                    manifest.window.length,
                    len(manifest.features),
                    _probes(bundle),
                    threads,
                    engine,
                )
        except ValueError as error:
            message = f"bundle {bundle.path}: {error}; train it again"
            raise BundleError(message) from None
        graphs = list(self.members.values()) or [self._graph]
        self.chunk = self._graph.chunk
        self.threads = max(graph.threads for graph in graphs)
        known = all(graph.rate for graph in graphs)
        self.rate = 1 / sum(1 / graph.rate for graph in graphs) if known else 0.0
        self.warm_up = time.perf_counter() - begin

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


def _detector(
    bundle: Bundle, threads: int | None, engine: EngineName
) -> tuple[dict[str, Graph], dict[str, NDArray[np.float64]]]:
    """Return the graphs and arrays of a bundle's detector, none if it has none."""
    detector, features = bundle.manifest.detector, len(bundle.manifest.features)
    if detector is None:
        return {}, {}
    random = np.random.default_rng(0)
    graphs = {}
    for part in detector.parts:
        if part.onnx is not None:
            probes = random.normal(size=(PROBES, part.view.rows, features)).astype(np.float32)
            graphs[part.name] = Graph(bundle.content(part.onnx), part.view.rows, features, probes, threads, engine)
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
    windows = calibration_windows(bundle)[:PROBES].copy()
    random = np.random.default_rng(0)
    noise = random.normal(size=windows[::2].shape) * np.asarray(bundle.manifest.scaling.scale)
    windows[::2] += np.where(random.random(noise.shape) < 0.02, np.nan, noise)  # noqa: PLR2004 - two cells in a hundred
    return windows
