"""The kind `denoising`: learns to give back the clean window from a corrupted one.

The input of each step is corrupted anew: Gaussian noise, single cells masked, or whole sensors silenced; the target is
the window as it was recorded (Vincent et al., Extracting and composing robust features with denoising autoencoders,
2008). The layers are those of `dense`. When it serves, nothing is corrupted: it is the recording that is noisy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from models.base import Options
from models.dense import Dense

if TYPE_CHECKING:
    from models.base import Hyperparameters, Networks, Shape


class DenoisingOptions(Options):
    """Settings of `denoising` alone.

    Attributes:
        noise: `gaussian` adds noise to every cell, `masking` sets cells to 0, `sensors` sets whole features to 0, all
            in scaled units (with `standard` scaling 0 is the mean, which is also what a missing value becomes).
        level: standard deviation of the noise, or the share of the cells or features that are silenced.
    """

    noise: Literal["gaussian", "masking", "sensors"] = "gaussian"
    level: float = Field(default=0.3, gt=0, allow_inf_nan=False)


class Denoising(Dense):
    """`dense`, trained on corrupted windows."""

    kind: ClassVar[str] = "denoising"
    options: ClassVar[type[Options]] = DenoisingOptions
    cleans: ClassVar[bool] = True

    @classmethod
    def check(cls, shape: Shape, hyper: Hyperparameters) -> None:
        """Refuse, beside what `dense` refuses, a level that silences everything."""
        super().check(shape, hyper)
        options = DenoisingOptions.model_validate(hyper.options)
        if options.noise != "gaussian" and options.level >= 1:
            message = (
                f"train.options.level {options.level:g} silences everything: {options.noise} needs a share below 1"
            )
            raise ValueError(message)
        if options.noise == "sensors" and shape.features == 1:
            message = "train.options.noise sensors needs two features or more: with one, set it to masking or gaussian"
            raise ValueError(message)

    @classmethod
    def trainer(cls, networks: Networks, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model
        """Return the autoencoder behind a layer that corrupts while training, and only then."""
        import keras
        from keras import ops

        options = DenoisingOptions.model_validate(hyper.options)

        class Corrupt(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
            """Noise, or cells or features set to 0, drawn anew for every window."""

            def __init__(self) -> None:
                super().__init__(name="corrupt")
                self.drawn = keras.random.SeedGenerator(hyper.seed)

            def call(self, scaled: Any, *, training: bool = False) -> Any:  # noqa: ANN401 - a Keras tensor
                if not training:
                    return scaled
                if options.noise == "gaussian":
                    return scaled + keras.random.normal(ops.shape(scaled), stddev=options.level, seed=self.drawn)
                rows = 1 if options.noise == "sensors" else shape.length
                chance = keras.random.uniform((ops.shape(scaled)[0], rows, shape.features), seed=self.drawn)
                return scaled * ops.cast(chance >= options.level, "float32")

        inputs = keras.Input((shape.length, shape.features), name="scaled")
        return keras.Model(inputs, networks.autoencoder(Corrupt()(inputs)))
