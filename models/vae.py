"""The kind `vae`: a variational autoencoder, whose code is a distribution and from whose prior windows can be drawn.

The encoder gives mean and log variance of each number of the code; training draws the code from them
(reparameterisation; Kingma and Welling, Auto-encoding variational Bayes, 2014) and minimises

    beta · Σ over the cells of the loss + KL(code ‖ standard normal),

divided by beta times the number of cells, so that it reads as the loss of a cell like the other kinds' does. A small
`beta` makes codes that fill the plane like the prior, a large one sharp reconstructions. The layers are those of
`dense`.

Two scores. `error`: the squared error of the reconstruction from the mean code. `probability`: the reconstruction
probability of An and Cho (Variational autoencoder based anomaly detection using reconstruction probability, 2015), as
the mean negative log likelihood of the cell over `samples` codes, above the least value that it can have. The codes are
mean ± deviation × noise with noise that is part of the graph and always the same, so the score is deterministic. Each
cell of the window has a variance of its own, measured on the training windows when the networks are done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.base import Options
from models.dense import Dense, narrowing, widening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from models.base import Hyperparameters, Networks, Shape

FLOOR = 1e-4
"""The least variance of a cell, in scaled units squared."""

_LIMIT = 10.0  # log variances of the code are held within ± this


class VaeOptions(Options):
    """Settings of `vae` alone.

    Attributes:
        beta: weight of the reconstruction beside the divergence.
        score: what serving calls the error: `error` or `probability`.
        samples: codes that `probability` is the mean over; even, for each noise comes with its negative.
    """

    beta: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    score: Literal["error", "probability"] = "error"
    samples: int = Field(default=8, ge=2, le=256, multiple_of=2)


class Vae(Dense):
    """`dense` with a distribution as its code."""

    kind: ClassVar[str] = "vae"
    options: ClassVar[type[Options]] = VaeOptions
    draws: ClassVar[bool] = True

    @classmethod
    def encoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build dense layers and the layer `moments`: means, then log variances; the code is the means."""
        import keras

        inputs, state = narrowing(shape, hyper)
        moments = keras.layers.Dense(2 * hyper.code_size, name="moments")(state)
        return keras.Model(inputs, moments[:, : hyper.code_size], name="encoder")

    @classmethod
    def decoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the mirror, and the layer `likelihood`: the cells, then the log variance of each.

        The log variances hang on a layer that does not train and takes nothing from the code; `settle` sets them.
        """
        import keras

        cells = shape.length * shape.features
        inputs, state = widening(hyper)
        mean = keras.layers.Dense(cells, activation=hyper.output_activation)(state)
        spread = keras.layers.Dense(cells, kernel_initializer="zeros", trainable=False, name="spread")(inputs)
        both = keras.layers.Concatenate(name="likelihood")([mean, spread])
        outputs = keras.layers.Reshape((shape.length, shape.features))(both[:, :cells])
        return keras.Model(inputs, outputs, name="decoder")

    @classmethod
    def trainer(cls, networks: Networks, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model
        """Return encoder and decoder with a draw between them, which adds the divergence to the loss."""
        import keras
        from keras import ops

        weight = 1 / (VaeOptions.model_validate(hyper.options).beta * shape.length * shape.features)

        class Draw(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
            """Draws the code while training; hands on the means otherwise."""

            def __init__(self) -> None:
                super().__init__(name="draw")
                self.drawn = keras.random.SeedGenerator(hyper.seed)

            def call(self, moments: Any, *, training: bool = False) -> Any:  # noqa: ANN401 - a Keras tensor
                mean, spread = _split(moments)
                divergence = ops.sum(ops.exp(spread) + ops.square(mean) - 1 - spread, axis=1) / 2
                self.add_loss(weight * ops.mean(divergence))
                if not training:
                    return mean
                return mean + ops.exp(spread / 2) * keras.random.normal(ops.shape(mean), seed=self.drawn)

        inputs = keras.Input((shape.length, shape.features), name="scaled")
        return keras.Model(inputs, networks.decoder(Draw()(_moments(networks)(inputs))))

    @classmethod
    def settle(cls, networks: Networks, hyper: Hyperparameters, windows: Callable[[], Iterator[NDArray[Any]]]) -> None:
        """Measure the variance of each cell, over the training windows and the codes that the score uses."""
        total, count = 0.0, 0
        for batch in windows():
            rebuilt = _likely(networks, batch, hyper)[0]
            total = total + np.square(np.asarray(rebuilt, np.float64) - batch[:, None]).mean(axis=1).sum(axis=0)
            count += len(batch)
        variance = np.maximum(np.asarray(total) / count, FLOOR).reshape(-1).astype(np.float32)
        layer = networks.decoder.get_layer("spread")
        layer.set_weights([layer.get_weights()[0], np.log(variance)])

    @classmethod
    def cell_errors(cls, networks: Networks, scaled: Any, hyper: Hyperparameters) -> tuple[Any, Any, Any]:  # noqa: ANN401 - Keras tensors
        """Return the errors that `score` names, the reconstruction from the mean code, and the mean code."""
        from keras import ops

        errors, reconstruction, code = super().cell_errors(networks, scaled, hyper)
        if VaeOptions.model_validate(hyper.options).score == "probability":
            rebuilt, spread = _likely(networks, scaled, hyper)
            distance = ops.square(ops.expand_dims(scaled, 1) - rebuilt)
            unlikely = (spread - float(np.log(FLOOR)) + distance * ops.exp(-spread)) / 2
            errors = ops.maximum(ops.mean(unlikely, axis=1), 0.0)
        return errors, reconstruction, code


def noise(samples: int, code_size: int) -> NDArray[np.float32]:
    """Return the noise of the score, `(samples, code_size)`: standard normal, each draw with its negative."""
    half = np.random.default_rng(0).standard_normal((samples // 2, code_size))
    return np.concatenate([half, -half]).astype(np.float32)


def _moments(networks: Networks) -> Any:  # noqa: ANN401 - a Keras model
    """Return the model from scaled windows to the moments of their codes `(n, 2 Z)`."""
    import keras

    return keras.Model(networks.encoder.input, networks.encoder.get_layer("moments").output)


def _split(moments: Any) -> tuple[Any, Any]:  # noqa: ANN401 - Keras tensors
    """Return means and log variances `(n, Z)`, the latter within limits."""
    from keras import ops

    size = moments.shape[-1] // 2
    return moments[:, :size], ops.clip(moments[:, size:], -_LIMIT, _LIMIT)


def _likely(networks: Networks, scaled: Any, hyper: Hyperparameters) -> tuple[Any, Any]:  # noqa: ANN401 - Keras tensors
    """Return reconstructions `(n, samples, L, F)` of the codes that the score uses, and log variances as wide."""
    import keras
    from keras import ops

    samples = VaeOptions.model_validate(hyper.options).samples
    mean, spread = _split(_moments(networks)(scaled))
    drawn = ops.expand_dims(mean, 1) + ops.expand_dims(ops.exp(spread / 2), 1) * noise(samples, hyper.code_size)
    both = keras.Model(networks.decoder.input, networks.decoder.get_layer("likelihood").output)
    found = both(ops.reshape(drawn, (-1, hyper.code_size)))
    length, features = networks.decoder.output_shape[1:]
    parts = found[:, : length * features], found[:, length * features :]
    rebuilt, variance = (ops.reshape(part, (-1, samples, length, features)) for part in parts)
    return rebuilt, variance
