"""The kind `conv2d`: the window as an image, rows are time steps and columns features.

3×3 kernels with stride 2 in both directions, filters 32, 64 and 128, a code, and the mirror of transposed convolutions:
the form that image tutorials use. Neighbouring columns should belong together, as the pixels of an image or the bands
of a spectrum do; where the order of the features means nothing, `conv` is the better choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from models.base import Autoencoder, Defaults, code_size
from models.conv import halved

if TYPE_CHECKING:
    from models.base import Hyperparameters, Shape

_KERNEL, _STRIDE = 3, 2


class Conv2d(Autoencoder):
    """Convolutional encoder and decoder over time and features."""

    kind: ClassVar[str] = "conv2d"

    @classmethod
    def defaults(cls, shape: Shape) -> Defaults:
        """Three layers of 32, 64 and 128 filters, and a code of an eighth of the window's cells, from 2 to 16."""
        return Defaults(code_size=code_size(shape, 8), nodes=(32, 64, 128), activation="relu")

    @classmethod
    def encoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build convolutions of stride 2, and a dense layer that makes the code."""
        import keras

        inputs = keras.Input((shape.length, shape.features), name="scaled")
        state = keras.layers.Reshape((shape.length, shape.features, 1))(inputs)
        for filters in hyper.nodes:
            state = keras.layers.Conv2D(filters, _KERNEL, strides=_STRIDE, padding="same", activation=hyper.activation)(
                state
            )
        code = keras.layers.Dense(hyper.code_size, name="code")(keras.layers.Flatten()(state))
        return keras.Model(inputs, code, name="encoder")

    @classmethod
    def decoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the mirror: transposed convolutions of stride 2, cut to size, and a convolution to one channel."""
        import keras

        rows, columns = halved(shape.length, hyper.layers), halved(shape.features, hyper.layers)
        filters = (*hyper.nodes, 1)[hyper.layers - 1]
        inputs = keras.Input((hyper.code_size,), name="code")
        state = keras.layers.Dense(rows[-1] * columns[-1] * filters, activation=hyper.activation)(inputs)
        state = keras.layers.Reshape((rows[-1], columns[-1], filters))(state)
        sizes = list(zip(rows, columns, strict=True))[:-1]
        for filters, (height, width) in zip(reversed(hyper.nodes), reversed(sizes), strict=True):
            state = keras.layers.Conv2DTranspose(
                filters, _KERNEL, strides=_STRIDE, padding="same", activation=hyper.activation
            )(state)
            surplus = state.shape[1] - height, state.shape[2] - width
            if any(surplus):
                state = keras.layers.Cropping2D(((0, surplus[0]), (0, surplus[1])))(state)
        image = keras.layers.Conv2D(1, _KERNEL, padding="same", activation=hyper.output_activation)(state)
        return keras.Model(inputs, keras.layers.Reshape((shape.length, shape.features))(image), name="decoder")
