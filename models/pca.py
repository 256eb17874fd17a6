"""The kind `pca`: the linear baseline, in the same bundle form as the networks.

The code are the window's coordinates along the `code_size` directions of greatest variance, the reconstruction is the
point of that plane that lies nearest (Pearson, 1901): of all linear autoencoders the one with the least squared error.
Nothing is trained by gradient. Nobody should run a network that this beats without knowing it.

The directions are those of the covariance of the training windows, summed up batch by batch. Windows of more than
`_EXACT` cells would make that matrix too large; there a few passes of subspace iteration find the leading directions
(Halko, Martinsson and Tropp, Finding structure with randomness, 2011).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from models.base import Autoencoder, Defaults, code_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from models.base import Hyperparameters, Networks, Shape

_EXACT = 2048  # cells; the covariance has 32 MB
_PASSES = 6
_SURPLUS = 8  # directions beyond those asked for, which make the subspace iteration converge


class Pca(Autoencoder):
    """Principal components as linear encoder and decoder."""

    kind: ClassVar[str] = "pca"

    @classmethod
    def defaults(cls, shape: Shape) -> Defaults:
        """No layers, and a code of a sixteenth of the window's cells, from 2 to 16 numbers."""
        return Defaults(code_size=code_size(shape), nodes=(), activation="linear")

    @classmethod
    def check(cls, shape: Shape, hyper: Hyperparameters) -> None:
        """Refuse layers, more directions than the window has cells, and a loss that is not the squared error."""
        cells = shape.length * shape.features
        if hyper.nodes:
            message = "train.nodes: pca has no layers: leave nodes and layers out"
        elif hyper.loss != "mse":
            message = "train.loss: pca makes the squared error least, and nothing else: set it to mse"
        elif hyper.code_size > cells:
            message = f"train.code_size {hyper.code_size} is more than the {cells} cells of a window: set it lower"
        else:
            return
        raise ValueError(message)

    @classmethod
    def encoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the projection."""
        import keras

        inputs = keras.Input((shape.length, shape.features), name="scaled")
        code = keras.layers.Dense(hyper.code_size, name="code")(keras.layers.Flatten()(inputs))
        return keras.Model(inputs, code, name="encoder")

    @classmethod
    def decoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the way back."""
        import keras

        inputs = keras.Input((hyper.code_size,), name="code")
        cells = keras.layers.Dense(shape.length * shape.features, name="cells")(inputs)
        return keras.Model(inputs, keras.layers.Reshape((shape.length, shape.features))(cells), name="decoder")

    @classmethod
    def solve(cls, networks: Networks, windows: Callable[[], Iterator[NDArray[Any]]]) -> bool:
        """Set the weights: directions, and the mean window as the origin."""

        def rows() -> Iterator[NDArray[np.float64]]:
            return (batch.reshape(len(batch), -1).astype(np.float64) for batch in windows())

        mean = _mean(rows)
        axes = directions(rows, mean, networks.encoder.output_shape[1]).astype(np.float32)
        networks.encoder.get_layer("code").set_weights([axes, -(mean @ axes)])
        networks.decoder.get_layer("cells").set_weights([axes.T, mean])
        return True


def _mean(rows: Callable[[], Iterator[NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Return the mean row `(D,)`."""
    count, total = 0, np.zeros(1)
    for batch in rows():
        count, total = count + len(batch), total + batch.sum(axis=0)
    return total / count


def directions(
    rows: Callable[[], Iterator[NDArray[np.float64]]], mean: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Return the directions of greatest variance as columns `(D, count)`, each with its largest entry positive.

    Directions along which the rows do not vary at all (fewer rows than `count`, say) are columns of zeros: the codes
    there are 0.

    Args:
        rows: starts a pass over all rows, in batches `(b, D)`.
        mean: mean row `(D,)`.
        count: how many, at most D.
    """

    def product(basis: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scatter matrix times `basis` `(D, k)`."""
        total = np.zeros_like(basis)
        for batch in rows():
            centred = batch - mean
            total += centred.T @ (centred @ basis)
        return total

    if len(mean) <= _EXACT:
        scatter = np.zeros((len(mean), len(mean)))
        for batch in rows():
            centred = batch - mean
            scatter += centred.T @ centred
        variances, axes = np.linalg.eigh(scatter)
    else:
        width = min(len(mean), count + _SURPLUS)
        basis = np.linalg.qr(np.random.default_rng(0).standard_normal((len(mean), width)))[0]
        for _ in range(_PASSES):
            basis = np.linalg.qr(product(basis))[0]
        variances, within = np.linalg.eigh(basis.T @ product(basis))
        axes = basis @ within
    variances, axes = variances[::-1][:count], axes[:, ::-1][:, :count]
    turned: NDArray[np.float64] = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(count)])
    flat = variances <= max(float(variances[0]), 0.0) * np.finfo(np.float32).eps ** 2
    turned[:, flat] = 0
    return turned
