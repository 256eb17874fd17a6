"""A bundle's autoencoder as a LiteRT file, for phones and microcontrollers, in float32 or in 8-bit integers.

The file takes one scaled window `(1, L, F)` and gives its reconstruction `(1, L, F)`. Scaling and score stay outside:
in 8 bits all features share one range, so they must be scaled before; and an anomaly lies outside that range, so the
score must be computed from the window as it was measured: the mean of (scaled - reconstruction)² over the values that
are there. So it is done here, to compare with the float model. A missing value goes in as its feature's training mean.

Recurrent layers are unrolled, a copy of the step's operators for each: the micro interpreter has no loop over states in
8 bits, and the converter dies of it. What is repeated, codes and rows, is so by `PACK`, which it has, not by `TILE`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models import backend, export
from models.cells import TrainingError
from models.codes import single
from models.micro import Needs, needs
from models.serving import Model, calibration_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from models.base import Networks
    from models.bundle import Bundle

MOST = 256
"""Windows that quantisation looks at, and that the scores are compared on, at most."""


@dataclass(frozen=True, slots=True)
class Range:
    """How the 8-bit numbers of an input or output are read: real = scale × (number - zero)."""

    scale: float
    zero: int

    @property
    def low(self) -> float:
        """The least value that there is a number for."""
        return self.scale * (-128 - self.zero)

    @property
    def high(self) -> float:
        """The greatest."""
        return self.scale * (127 - self.zero)


@dataclass(frozen=True, slots=True)
class Exported:
    """A LiteRT file, and how it compares with the bundle's model.

    Attributes:
        content: the bytes.
        needs: operators and memory.
        input: how its input is quantised; None in float32.
        output: the same of its output.
        windows: windows that the scores were compared on.
        middle: median relative difference of the scores.
        largest: largest relative difference of a score.
        line: quantile 0.99 of the float model's scores.
        own_line: the same of the file's.
    """

    content: bytes
    needs: Needs
    input: Range | None
    output: Range | None
    windows: int
    middle: float
    largest: float
    line: float
    own_line: float


def make(bundle: Bundle, windows: NDArray[np.float32] | None, *, int8: bool) -> Exported:
    """Convert a bundle's autoencoder, run it, and compare its scores.

    Args:
        bundle: of one autoencoder.
        windows: normal windows `(k, L, F)` in raw units, whose ranges the 8-bit numbers cover; None = the bundle's own
            calibration windows.
        int8: full-integer quantisation, with 8-bit input and output.

    Raises:
        BundleError: if the bundle has several members.
        TrainingError: if TensorFlow is not installed, there are no windows, or converter or interpreter refuse.
    """
    single(bundle, "export")
    backend.require("export")
    raw = calibration_windows(bundle) if windows is None else windows
    if len(raw) == 0:
        message = f"bundle {bundle.path} has no calibration windows: name a normal recording with --calibrate"
        raise TrainingError(message)
    raw = raw[np.unique(np.linspace(0, len(raw) - 1, min(len(raw), MOST)).round().astype(np.int64))]
    scaling = bundle.manifest.scaling
    present = ~np.isnan(raw)
    scaled = np.where(present, np.clip(scaling.apply(raw), -export.LIMIT, export.LIMIT), scaling.missing())
    scaled = scaled.astype(np.float32)
    content = _convert(export.restore(bundle), scaled, int8=int8)
    rebuilt, ends = run(content, scaled)
    reference = scaling.apply(Model(bundle).score(raw).reconstruction)
    expected, found = (_scores(scaled, each, present) for each in (reference, rebuilt))
    difference = np.abs(found - expected) / np.maximum(expected, np.finfo(np.float32).tiny)
    return Exported(
        content,
        needs(content),
        *ends,
        len(raw),
        float(np.median(difference)),
        float(difference.max()),
        float(np.quantile(expected, 0.99)),
        float(np.quantile(found, 0.99)),
    )


def run(content: bytes, scaled: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[Range | None, Range | None]]:
    """Return reconstructions of scaled windows by a LiteRT file, and how its two ends are quantised.

    Raises:
        TrainingError: if the interpreter that TensorFlow brings refuses it.
    """
    import tensorflow as tf

    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # as a device without accelerator
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this interpreter will move to a package of its own
            interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=plain)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        message = f"the LiteRT file does not run here: {next(iter(str(error).strip().splitlines()), error)}"
        raise TrainingError(message) from None
    inputs, outputs = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    ends = _range(inputs), _range(outputs)
    rebuilt = np.empty_like(scaled)
    for place, window in enumerate(scaled):
        interpreter.set_tensor(inputs["index"], quantised(window[None], ends[0]))
        interpreter.invoke()
        rebuilt[place] = real(interpreter.get_tensor(outputs["index"]), ends[1])[0]
    return rebuilt, ends


def quantised(values: NDArray[np.float32], end: Range | None) -> NDArray[Any]:
    """Return values as an input takes them; what is outside its range becomes its end."""
    if end is None:
        return values
    return np.asarray(np.clip(np.rint(values / end.scale) + end.zero, -128, 127), np.int8)


def real(values: NDArray[Any], end: Range | None) -> NDArray[np.float32]:
    """Return what an output means."""
    if end is None:
        return np.asarray(values, np.float32)
    return np.asarray((values.astype(np.float32) - end.zero) * end.scale, np.float32)


def _range(details: dict[str, Any]) -> Range | None:
    scale, zero = details["quantization"]
    return None if details["dtype"] is np.float32 else Range(float(scale), int(zero))


def _scores(scaled: NDArray[np.float32], rebuilt: NDArray[np.float32], present: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the mean squared error of each window's present cells."""
    squares = np.where(present, np.square(scaled.astype(np.float64) - rebuilt), 0)
    return np.asarray(squares.sum(axis=(1, 2)) / np.maximum(present.sum(axis=(1, 2)), 1))


def _convert(networks: Networks, scaled: NDArray[np.float32], *, int8: bool) -> bytes:
    """Return the file.

    Raises:
        TrainingError: if the converter refuses.
    """
    import keras
    import tensorflow as tf

    _unroll(networks)
    inputs = keras.Input(batch_shape=(1, *scaled.shape[1:]), name="scaled")
    model = keras.Model(inputs, networks.decoder(networks.encoder(inputs)))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = functools.partial(_one_by_one, scaled)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        # Keras prints what it saves on the way, TensorFlow what it quantises
        with warnings.catch_warnings(), backend.silence(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            content: bytes = converter.convert()
    except Exception as error:  # noqa: BLE001 - the converter's errors have no class of their own
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        message = f"the LiteRT converter refuses this model{' in 8 bits' if int8 else ''}: {first[:300]}"
        raise TrainingError(message) from None
    return content


def _one_by_one(scaled: NDArray[np.float32]) -> Iterator[list[NDArray[np.float32]]]:
    return ([window[None]] for window in scaled)


def _unroll(networks: Networks) -> None:
    """Have recurrent layers write out their steps, and repeat by an operator that microcontrollers have."""
    import keras

    for layer in [*networks.encoder.layers, *networks.decoder.layers]:
        both = [getattr(layer, name) for name in ("forward_layer", "backward_layer") if hasattr(layer, name)]
        for one in both or [layer]:
            if isinstance(one, keras.layers.LSTM):
                one.unroll = True
        if isinstance(layer, keras.layers.RepeatVector):
            layer.call = functools.partial(_stacked, count=layer.n)
        if isinstance(layer, keras.layers.UpSampling1D):
            layer.call = functools.partial(_repeated, count=layer.size)


def _stacked(code: Any, count: int) -> Any:  # noqa: ANN401 - Keras tensors
    """Return `(1, count, Z)`: a code `(1, Z)` so often."""
    from keras import ops

    return ops.stack([code] * count, axis=1)


def _repeated(rows: Any, count: int) -> Any:  # noqa: ANN401 - Keras tensors
    """Return `(1, R × count, F)`: each row of `(1, R, F)` so often."""
    from keras import ops

    return ops.reshape(ops.stack([rows] * count, axis=2), (1, rows.shape[1] * count, rows.shape[2]))
