"""What runs a graph: ONNX Runtime, or OpenVINO where that is faster. Each is told where a chunk lies and writes there.

OpenVINO multiplies with oneDNN, whose recurrent cells were measured 1.3 times as fast as ONNX Runtime's on the
processor at hand (`tests/performance/RESULTS.md`), and as independent of the chunk to the last bit. It compiles a graph
for every chunk size, so that a start takes longer, and its scores differ from ONNX Runtime's in the last bits: a daemon
and its replay must run the same engine.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.chunk import CHUNKS
from models.workers import cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.chunk import Call, Scores

EngineName = Literal["onnxruntime", "openvino"]

FIGURES = ("score", "errors", "reconstruction")


class OnnxRuntime:
    """An ONNX Runtime session with one thread.

    Attributes:
        chunks: the numbers of windows that are worth a try, rising.
    """

    chunks: tuple[int, ...] = CHUNKS

    def __init__(self, content: bytes) -> None:
        """Load a graph.

        Raises:
            ValueError: if ONNX Runtime cannot.
        """
        os.environ.setdefault("ORT_TELEMETRY_DISABLED", "1")  # 1.31 keeps an id in the home all the same
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

    def check(self, length: int, features: int) -> None:
        """Refuse a graph of another form than a bundle's.

        Raises:
            ValueError: if it has other inputs or outputs.
        """
        inputs = {node.name: node.shape[1:] for node in self._session.get_inputs()}
        if inputs != {"windows": [length, features]}:
            message = f"the graph takes {inputs}, windows of [{length}, {features}] are needed"
            raise ValueError(message)
        missing = {*FIGURES, "latent"} - {node.name for node in self._session.get_outputs()}
        if missing:
            message = f"the graph has no output {min(missing)}"
            raise ValueError(message)

    def encode(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the codes `(n, Z)` of windows `(n, L, F)`."""
        codes: NDArray[np.float32] = self._session.run(["latent"], {"windows": windows})[0]
        return codes

    def call(self) -> Call:
        """Return what one thread runs the graph with."""
        session, binding = self._session, self._session.io_binding()

        def run(windows: NDArray[np.float32], scores: Scores, start: int, size: int) -> None:
            kind = np.float32
            binding.bind_input("windows", "cpu", 0, kind, (size, *windows.shape[1:]), windows.ctypes.data)
            for name in FIGURES:
                column: NDArray[np.float32] = getattr(scores, name)
                address = column.ctypes.data + start * column.strides[0]
                binding.bind_output(name, "cpu", 0, kind, (size, *column.shape[1:]), address)
            session.run_with_iobinding(binding)

        return run


class OpenVino(OnnxRuntime):
    """OpenVINO's CPU plug-in, in float32. ONNX Runtime still looks at the graph's form, and makes codes."""

    chunks = (1, 8, 32)  # each takes some 70 ms to compile

    def __init__(self, content: bytes) -> None:
        """Load a graph; it is compiled for a chunk size when that is first run.

        Raises:
            ValueError: if one of the two cannot.
        """
        super().__init__(content)
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it does without: nobody is told
        import openvino
        from openvino.passes import ConstantFolding, Manager

        # Weights of 8 bits are multiplied out now: left to it, it would round the windows' values to 8 bits, too.
        folding = Manager()
        folding.register_pass(ConstantFolding())
        self._fold = folding.run_passes
        self._core, self._content = openvino.Core(), content
        self._compiled: dict[int, Any] = {}
        self._lock = Lock()
        self._tensor = openvino.Tensor

    def call(self) -> Call:
        """Return what one thread runs the graph with."""
        requests: dict[int, Any] = {}
        tensor = self._tensor

        def run(windows: NDArray[np.float32], scores: Scores, start: int, size: int) -> None:
            request = requests.get(size)
            if request is None:
                request = requests[size] = self._for(size, windows.shape[1:]).create_infer_request()
            request.set_input_tensor(tensor(windows[:size], shared_memory=True))
            for name in FIGURES:
                request.set_tensor(name, tensor(getattr(scores, name)[start : start + size], shared_memory=True))
            request.infer()

        return run

    def _for(self, size: int, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - its types are not NumPy's
        """Return the graph compiled for chunks of a size.

        Raises:
            ValueError: if OpenVINO cannot read or compile it.
        """
        with self._lock:
            if size not in self._compiled:
                settings = {
                    "INFERENCE_PRECISION_HINT": "f32",
                    "NUM_STREAMS": cores(),
                    "INFERENCE_NUM_THREADS": cores(),
                    "ENABLE_CPU_PINNING": False,  # the threads are not its own alone
                }
                try:
                    model = self._core.read_model(self._content, b"")
                    self._fold(model)
                    model.reshape({"windows": [size, *shape]})
                    self._compiled[size] = self._core.compile_model(model, "CPU", settings)
                except RuntimeError as error:
                    message = f"OpenVINO cannot load the graph: {str(error).splitlines()[0]}"
                    raise ValueError(message) from None
            return self._compiled[size]


def missing(engine: EngineName) -> bool:
    """Return whether an engine is not installed."""
    return find_spec(engine) is None


def load(engine: EngineName, content: bytes, length: int, features: int) -> OnnxRuntime:
    """Return an engine with a bundle's graph.

    Raises:
        ValueError: if it cannot load the graph, or that has other inputs or outputs.
    """
    loaded = OpenVino(content) if engine == "openvino" else OnnxRuntime(content)
    loaded.check(length, features)
    return loaded
