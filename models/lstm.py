"""The kind `lstm`: a recurrent encoder reads the window, its last state becomes the code, a decoder unrolls it.

Encoder LSTM stack → code → the code repeated for every step → decoder LSTM stack → one dense layer for all steps
(Srivastava et al., Unsupervised learning of video representations using LSTMs, 2015; Malhotra et al., LSTM-based
encoder-decoder for multi-sensor anomaly detection, 2016). The last layer is a `Dense` on the three-dimensional tensor:
the same function as `TimeDistributed(Dense)`, which the ONNX exporter would cut into one multiplication a step.

With `decoder: state` the code is what the decoder starts from, not what it reads (the unconditioned decoder of
Srivastava et al.): two dense layers make its first state, and its steps get nothing. The code is multiplied once a
window, and not once a step.

A step reads one row; of windows of more than 64 rows it reads several at once, for a recurrent network of 140 steps
learns next to nothing from a few hundred windows, and takes an order of magnitude longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from models.base import Autoencoder, Defaults, Options

if TYPE_CHECKING:
    from models.base import Hyperparameters, Shape

_SINGLE = 64  # the longest window that is read row by row
_STEPS = 16


class LstmOptions(Options):
    """Settings of `lstm` alone.

    Attributes:
        bidirectional: the encoder reads the window in both directions, each with as many units as `nodes` says.
        decoder: the code is read at every step (`repeat`), or is the state to begin with (`state`).
        rows_per_step: rows that a step reads, and writes; empty = 1 up to 64 rows, else as many as make 16 steps.
    """

    bidirectional: bool = False
    decoder: Literal["repeat", "state"] = "repeat"
    rows_per_step: int | None = Field(default=None, ge=1)

    def steps(self, length: int) -> tuple[int, int]:
        """Return the steps for windows of so many rows, and the rows of a step; the last may reach beyond the end."""
        rows = self.rows_per_step or (1 if length <= _SINGLE else -(-length // _STEPS))
        return -(-length // rows), rows


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
        steps, rows = options.steps(shape.length)
        state = inputs
        if rows > 1:
            state = keras.layers.ZeroPadding1D((0, steps * rows - shape.length))(state)
            state = keras.layers.Reshape((steps, rows * shape.features))(state)
        for depth, units in enumerate(hyper.nodes, start=1):
            layer = keras.layers.LSTM(units, activation=hyper.activation, return_sequences=depth < hyper.layers)
            state = (keras.layers.Bidirectional(layer) if options.bidirectional else layer)(state)
        return keras.Model(inputs, keras.layers.Dense(hyper.code_size, name="code")(state), name="encoder")

    @classmethod
    def decoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the mirror: the code at every step or before the first, LSTM layers, a dense layer to a step's rows."""
        import keras

        options = LstmOptions.model_validate(hyper.options)
        steps, rows = options.steps(shape.length)
        inputs = keras.Input((hyper.code_size,), name="code")
        nodes, begin = hyper.nodes[::-1], None
        read = inputs
        if options.decoder == "state":
            read = keras.ops.zeros_like(inputs[:, :1])
            begin = [
                keras.layers.Dense(nodes[0], activation=hyper.activation, name="hidden")(inputs),
                keras.layers.Dense(nodes[0], name="cell")(inputs),
            ]
        state = keras.layers.RepeatVector(steps)(read)
        for units in nodes:
            layer = keras.layers.LSTM(units, activation=hyper.activation, return_sequences=True)
            state, begin = layer(state, initial_state=begin), None
        outputs = keras.layers.Dense(rows * shape.features, activation=hyper.output_activation)(state)
        if rows > 1:
            outputs = keras.layers.Reshape((steps * rows, shape.features))(outputs)
            outputs = keras.layers.Cropping1D((0, steps * rows - shape.length))(outputs)
        return keras.Model(inputs, outputs, name="decoder")
