"""The kind `tcn`: residual dilated convolutions, which see far with few layers.

A temporal convolutional network as an autoencoder (Bai et al., An empirical evaluation of generic convolutional and
recurrent networks, 2018; Thill et al., Temporal convolutional autoencoder for unsupervised anomaly detection, 2021).
Layer i looks `2**i` rows apart; each adds to what it was given. Not causal: a window is scored when it is complete, so
its rows may be seen in both directions. The encoder's rows are averaged in groups and a dense layer makes the code; the
decoder spreads them out again and has the layers in reverse order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from models.base import Autoencoder, Defaults, Options, code_size

if TYPE_CHECKING:
    from models.base import Hyperparameters, Shape

_GROUPS = 16  # of rows at most, before the code


class TcnOptions(Options):
    """Settings of `tcn` alone.

    Attributes:
        kernel: rows that one filter sees; they lie `2**i` rows apart in layer i.
    """

    kernel: int = Field(default=5, ge=1, le=64)


class Tcn(Autoencoder):
    """Dilated convolutional encoder and decoder."""

    kind: ClassVar[str] = "tcn"
    options: ClassVar[type[Options]] = TcnOptions

    @classmethod
    def defaults(cls, shape: Shape) -> Defaults:
        """Four layers of 16 filters, and a code of a sixteenth of the window's cells, from 2 to 16 numbers."""
        return Defaults(code_size=code_size(shape), nodes=(16,) * 4, activation="relu")

    @classmethod
    def encoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the residual layers, the averages of rows, and a dense layer that makes the code."""
        import keras

        inputs = keras.Input((shape.length, shape.features), name="scaled")
        state = inputs
        for depth, filters in enumerate(hyper.nodes):
            state = _residual(state, filters, 2**depth, hyper)
        state = keras.layers.AveragePooling1D(_group(shape), padding="same")(state)
        code = keras.layers.Dense(hyper.code_size, name="code")(keras.layers.Flatten()(state))
        return keras.Model(inputs, code, name="encoder")

    @classmethod
    def decoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the mirror, and a dense layer at every row that makes the features."""
        import keras

        group = _group(shape)
        rows, filters = -(-shape.length // group), (*hyper.nodes, shape.features)[hyper.layers - 1]
        inputs = keras.Input((hyper.code_size,), name="code")
        state = keras.layers.Dense(rows * filters, activation=hyper.activation)(inputs)
        state = keras.layers.Reshape((rows, filters))(state)
        if group > 1:
            state = keras.layers.UpSampling1D(group)(state)
        if state.shape[1] > shape.length:
            state = keras.layers.Cropping1D((0, state.shape[1] - shape.length))(state)
        for depth, filters in reversed(list(enumerate(hyper.nodes))):
            state = _residual(state, filters, 2**depth, hyper)
        outputs = keras.layers.Dense(shape.features, activation=hyper.output_activation)(state)
        return keras.Model(inputs, outputs, name="decoder")


def _group(shape: Shape) -> int:
    """Return how many rows are averaged into one before the code."""
    return -(-shape.length // _GROUPS)


def _residual(state: Any, filters: int, apart: int, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - Keras tensors
    """Return the state plus what a dilated convolution makes of it."""
    import keras

    kernel = TcnOptions.model_validate(hyper.options).kernel
    layer = keras.layers.Conv1D(filters, kernel, dilation_rate=apart, padding="same", activation=hyper.activation)
    passed = state if state.shape[-1] == filters else keras.layers.Conv1D(filters, 1)(state)
    return keras.layers.Add()([passed, layer(state)])
