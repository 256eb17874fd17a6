"""The kind `sparse`: a code that may be wider than the window, of which few units answer to any one window.

What keeps it from copying its input is not the size of the code but a penalty on it: the L1 norm of units that cannot
be negative, or the Kullback–Leibler divergence of each unit's mean activation from a small target (Ng, Sparse
autoencoder, CS294A lecture notes, 2011). The first layer behind the code has unit norm for each unit of the code;
otherwise small codes with large weights would escape the L1 penalty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.base import Autoencoder, Defaults, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from models.base import Hyperparameters, Networks, Shape

ACTIVE = 0.1
"""A unit is active in a window if its value is above this share of the largest value of any unit."""


class SparseOptions(Options):
    """Settings of `sparse` alone.

    Attributes:
        penalty: `l1` (units are rectified) or `kl` (units are between 0 and 1).
        weight: weight of the penalty beside the loss of a cell.
        target: mean activation that `kl` aims at.
    """

    penalty: Literal["l1", "kl"] = "l1"
    weight: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    target: float = Field(default=0.05, gt=0, lt=1)


class Sparse(Autoencoder):
    """Fully connected encoder and decoder with a penalty on the code."""

    kind: ClassVar[str] = "sparse"
    options: ClassVar[type[Options]] = SparseOptions

    @classmethod
    def defaults(cls, shape: Shape) -> Defaults:  # noqa: ARG003 - the same for every shape
        """One layer of 64 units, and a code of 64."""
        return Defaults(code_size=64, nodes=(64,), activation="relu")

    @classmethod
    def encoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build dense layers of `nodes` units, and one whose outputs are not negative, the code."""
        import keras

        activation = "relu" if SparseOptions.model_validate(hyper.options).penalty == "l1" else "sigmoid"
        inputs = keras.Input((shape.length, shape.features), name="scaled")
        state = keras.layers.Flatten()(inputs)
        for units in hyper.nodes:
            state = keras.layers.Dense(units, activation=hyper.activation)(state)
        code = keras.layers.Dense(hyper.code_size, activation=activation, name="code")(state)
        return keras.Model(inputs, code, name="encoder")

    @classmethod
    def decoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the mirror: dense layers in reverse order, one that makes the cells."""
        import keras

        norm = keras.constraints.UnitNorm(axis=1)
        if SparseOptions.model_validate(hyper.options).penalty == "kl":
            norm = None
        inputs = keras.Input((hyper.code_size,), name="code")
        state = inputs
        for depth, units in enumerate(reversed(hyper.nodes)):
            layer = keras.layers.Dense(
                units, activation=hyper.activation, kernel_constraint=norm if depth == 0 else None
            )
            state = layer(state)
        cells = keras.layers.Dense(
            shape.length * shape.features,
            activation=hyper.output_activation,
            kernel_constraint=None if hyper.nodes else norm,
        )(state)
        return keras.Model(inputs, keras.layers.Reshape((shape.length, shape.features))(cells), name="decoder")

    @classmethod
    def trainer(cls, networks: Networks, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model
        """Return encoder and decoder with the penalty between them."""
        import keras
        from keras import ops

        options = SparseOptions.model_validate(hyper.options)

        class Penalty(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
            """Adds the penalty to the loss, and hands the code on."""

            def call(self, code: Any) -> Any:  # noqa: ANN401 - a Keras tensor
                if options.penalty == "l1":
                    amount = ops.mean(code)
                else:
                    rho = ops.clip(ops.mean(code, axis=0), 1e-6, 1 - 1e-6)
                    target = options.target
                    kept, lost = target * ops.log(target / rho), (1 - target) * ops.log((1 - target) / (1 - rho))
                    amount = ops.mean(kept + lost)
                self.add_loss(options.weight * amount)
                return code

        inputs = keras.Input((shape.length, shape.features), name="scaled")
        return keras.Model(inputs, networks.decoder(Penalty(name="penalty")(networks.encoder(inputs))))

    @classmethod
    def figures(cls, networks: Networks, windows: Callable[[], Iterator[NDArray[Any]]]) -> dict[str, float]:
        """Return `active_units`: the share of the code's units that are active in a window, on average."""
        codes = np.concatenate([np.asarray(networks.encoder(batch, training=False)) for batch in windows()])
        return {"active_units": float((codes > ACTIVE * codes.max()).mean())}
