"""The kind `lstm`: a recurrent encoder reads the window, its last state becomes the code, a decoder unrolls it.

Encoder LSTM stack → code → the code repeated for every row → decoder LSTM stack → one dense layer for all rows. The
last layer is a `Dense` on the three-dimensional tensor: the same function as `TimeDistributed(Dense)`, which the ONNX
exporter would cut into one multiplication a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from models.base import Autoencoder, Defaults, Options

if TYPE_CHECKING:
    from models.base import Hyperparameters, Shape


class LstmOptions(Options):
    """Settings of `lstm` alone.

    Attributes:
        bidirectional: the encoder reads the window in both directions, each with as many units as `nodes` says.
    """

    bidirectional: bool = False


class Lstm(Autoencoder):
    """LSTM encoder and decoder."""

    kind: ClassVar[str] = "lstm"
    options: ClassVar[type[Options]] = LstmOptions

    @classmethod
    def defaults(cls, shape: Shape) -> Defaults:
        """One layer of 64 units, and a code of a quarter of the window's cells, from 4 to 16 numbers."""
        return Defaults(code_size=min(16, max(4, shape.length * shape.features // 4)), nodes=(64,), activation="tanh")

    @classmethod
    def encoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build LSTM layers of `nodes` units and a dense layer that makes the code of the last row's state."""
        import keras

        options = LstmOptions.model_validate(hyper.options)
        inputs = keras.Input((shape.length, shape.features), name="scaled")
        state = inputs
        for depth, units in enumerate(hyper.nodes, start=1):
            layer = keras.layers.LSTM(units, activation=hyper.activation, return_sequences=depth < hyper.layers)
            state = (keras.layers.Bidirectional(layer) if options.bidirectional else layer)(state)
        return keras.Model(inputs, keras.layers.Dense(hyper.code_size, name="code")(state), name="encoder")

    @classmethod
    def decoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the mirror: the code at every row, LSTM layers in reverse order, a dense layer to the features."""
        import keras

        inputs = keras.Input((hyper.code_size,), name="code")
        state = keras.layers.RepeatVector(shape.length)(inputs)
        for units in reversed(hyper.nodes):
            state = keras.layers.LSTM(units, activation=hyper.activation, return_sequences=True)(state)
        outputs = keras.layers.Dense(shape.features, activation=hyper.output_activation)(state)
        return keras.Model(inputs, outputs, name="decoder")
