"""The kind `dense`: fully connected layers that shrink to the code, and their mirror.

The window's cells in one row → layers of `nodes` units → code → the layers in reverse → the cells. It is undercomplete
by construction: the code has fewer numbers than the window has cells, and no layer is wider than the one before, so
that copying the input is not open to it (Goodfellow et al., Deep Learning, 2016, 14.1).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from models.base import Autoencoder, Defaults, code_size

if TYPE_CHECKING:
    from models.base import Hyperparameters, Shape


def narrowing(shape: Shape, hyper: Hyperparameters) -> tuple[Any, Any]:
    """Return the window as Keras input, and what the last layer before the code makes of it."""
    import keras

    inputs = keras.Input((shape.length, shape.features), name="scaled")
    state = keras.layers.Flatten()(inputs)
    for units in hyper.nodes:
        state = keras.layers.Dense(units, activation=hyper.activation)(state)
    return inputs, state


def widening(hyper: Hyperparameters) -> tuple[Any, Any]:
    """Return the code as Keras input, and what the last layer before the cells makes of it."""
    import keras

    inputs = keras.Input((hyper.code_size,), name="code")
    state = inputs
    for units in reversed(hyper.nodes):
        state = keras.layers.Dense(units, activation=hyper.activation)(state)
    return inputs, state


class Dense(Autoencoder):
    """Fully connected encoder and decoder."""

    kind: ClassVar[str] = "dense"

    @classmethod
    def defaults(cls, shape: Shape) -> Defaults:
        """Two layers of 64 and 32 units, and a code of a sixteenth of the window's cells, from 2 to 16 numbers."""
        return Defaults(code_size=code_size(shape), nodes=(64, 32), activation="relu")

    @classmethod
    def check(cls, shape: Shape, hyper: Hyperparameters) -> None:
        """Refuse a code that is no smaller than the window, and layers that widen towards the code.

        A window of one cell has nothing smaller; it is let through.
        """
        cells = shape.length * shape.features
        if hyper.code_size >= max(cells, 2):
            message = (
                f"train.code_size {hyper.code_size} is no smaller than a window of {cells} cells: {cls.kind} would only"
                " copy it; set it lower, or train the kind sparse"
            )
            raise ValueError(message)
        if any(after > before for before, after in pairwise(hyper.nodes)):
            message = (
                f"train.nodes {list(hyper.nodes)} widen towards the code: {cls.kind} needs layers that shrink, such as"
                f" {sorted(hyper.nodes, reverse=True)}"
            )
            raise ValueError(message)

    @classmethod
    def encoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build dense layers of `nodes` units, and one without activation that makes the code."""
        import keras

        inputs, state = narrowing(shape, hyper)
        return keras.Model(inputs, keras.layers.Dense(hyper.code_size, name="code")(state), name="encoder")

    @classmethod
    def decoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the mirror: dense layers in reverse order, one that makes the cells."""
        import keras

        inputs, state = widening(hyper)
        cells = keras.layers.Dense(shape.length * shape.features, activation=hyper.output_activation)(state)
        return keras.Model(inputs, keras.layers.Reshape((shape.length, shape.features))(cells), name="decoder")
