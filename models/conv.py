"""The kind `conv`: strided convolutions along time make the window shorter, transposed ones make it long again.

Each layer halves the rows, rounded up, and has as many filters as `nodes` says; what is left becomes the code through
one dense layer. The decoder doubles the rows and cuts off the row that rounding added, so that every window length
comes back, also one that the stride does not divide.

The layers are Keras' two-dimensional ones over a width of 1, the same function: of the one-dimensional transposed
convolution the ONNX converter makes a dozen nodes that work out at run time a shape that is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from models.base import Autoencoder, Defaults, Options, code_size

if TYPE_CHECKING:
    from models.base import Hyperparameters, Shape

_STRIDE = 2


class ConvOptions(Options):
    """Settings of `conv` alone.

    Attributes:
        kernel: rows that one filter sees.
    """

    kernel: int = Field(default=7, ge=1, le=1024)


def halved(size: int, layers: int) -> list[int]:
    """Return a size before the first and after each of so many layers of stride 2: 140, 70, 35, 18."""
    sizes = [size]
    for _ in range(layers):
        sizes.append(-(-sizes[-1] // _STRIDE))
    return sizes


class Conv(Autoencoder):
    """Convolutional encoder and decoder along time."""

    kind: ClassVar[str] = "conv"
    options: ClassVar[type[Options]] = ConvOptions

    @classmethod
    def defaults(cls, shape: Shape) -> Defaults:
        """Two layers of 16 and 32 filters, and a code of a sixteenth of the window's cells, from 2 to 16 numbers."""
        return Defaults(code_size=code_size(shape), nodes=(16, 32), activation="relu")

    @classmethod
    def encoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build convolutions of stride 2, and a dense layer that makes the code."""
        import keras

        kernel = ConvOptions.model_validate(hyper.options).kernel
        inputs = keras.Input((shape.length, shape.features), name="scaled")
        state = keras.layers.Reshape((shape.length, 1, shape.features))(inputs)
        for filters in hyper.nodes:
            state = keras.layers.Conv2D(
                filters, (kernel, 1), strides=(_STRIDE, 1), padding="same", activation=hyper.activation
            )(state)
        code = keras.layers.Dense(hyper.code_size, name="code")(keras.layers.Flatten()(state))
        return keras.Model(inputs, code, name="encoder")

    @classmethod
    def decoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the mirror: transposed convolutions of stride 2, and a convolution that makes the features."""
        import keras

        kernel = ConvOptions.model_validate(hyper.options).kernel
        sizes = halved(shape.length, hyper.layers)
        filters = (*hyper.nodes, shape.features)[hyper.layers - 1]
        inputs = keras.Input((hyper.code_size,), name="code")
        state = keras.layers.Dense(sizes[-1] * filters, activation=hyper.activation)(inputs)
        state = keras.layers.Reshape((sizes[-1], 1, filters))(state)
        for filters, size in zip(reversed(hyper.nodes), reversed(sizes[:-1]), strict=True):
            state = keras.layers.Conv2DTranspose(
                filters, (kernel, 1), strides=(_STRIDE, 1), padding="same", activation=hyper.activation
            )(state)
            if size < state.shape[1]:
                state = keras.layers.Cropping2D(((0, state.shape[1] - size), (0, 0)))(state)
        last = keras.layers.Conv2D(shape.features, (kernel, 1), padding="same", activation=hyper.output_activation)
        outputs = keras.layers.Reshape((shape.length, shape.features))(last(state))
        return keras.Model(inputs, outputs, name="decoder")
