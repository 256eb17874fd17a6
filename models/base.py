"""What a kind of autoencoder is, and how kinds are found.

A kind is one file in this package whose class is a subclass of `Autoencoder` and whose `kind` is the file's name.
Nothing is registered: `find` imports the file of that name, `kinds` looks at every file. Neither needs Keras.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

Loss = Literal["mse", "binary_crossentropy"]
Activation = Literal["tanh", "relu", "elu", "selu", "gelu", "sigmoid", "softsign", "linear"]
Schedule = Literal["plateau", "cosine"]
Optimizer = Literal["adam", "adamw", "nadam", "rmsprop", "sgd"]
ScalingMethod = Literal["standard", "minmax", "none"]


class Options(BaseModel):
    """The settings that only one kind has; a kind that has some derives its own class from this one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of one window.

    Attributes:
        length: rows (time steps) of a window.
        features: columns of a window.
    """

    length: int
    features: int


class Hyperparameters(BaseModel):
    """Everything that decides what a training does, each with the value that was used; it is written into the bundle.

    Attributes:
        code_size: numbers in the code.
        layers: layers of the encoder, and of the decoder; 0 = straight to the code and back.
        nodes: units (filters) of each layer of the encoder, from the input to the code; the decoder mirrors them.
        loss: mean squared error or binary cross-entropy, over the cells that are present.
        activation: activation of the layers.
        optimizer: name of the optimizer.
        learning_rate: step size at the start.
        schedule: `plateau` (halved when the validation loss stops falling, the best epoch kept) or `cosine` (falls to
            nearly 0 over `epochs`, all of which are run, the last one kept).
        batch_size: windows in a step.
        epochs: most epochs.
        patience: epochs without a lower validation loss after which training stops.
        validation_split: share of the windows that decides when to stop.
        calibration_split: share of the windows that the calibration is made from.
        scaling: how features are scaled.
        seed: of the weights, the order of windows and the split.
        options: settings of the kind alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code_size: int = Field(ge=1)
    layers: int = Field(ge=0)
    nodes: tuple[int, ...]
    loss: Loss
    activation: Activation
    optimizer: Optimizer
    learning_rate: float = Field(gt=0)
    schedule: Schedule = "plateau"
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    patience: int = Field(ge=1)
    validation_split: float = Field(gt=0, lt=1)
    calibration_split: float = Field(gt=0, lt=1)
    scaling: ScalingMethod
    seed: int = Field(ge=0)
    options: dict[str, JsonValue] = {}

    @property
    def output_activation(self) -> str:
        """Activation of the last layer: a probability where the loss needs one, else none."""
        return "sigmoid" if self.loss == "binary_crossentropy" else "linear"


@dataclass(frozen=True)
class Defaults:
    """What a kind chooses where the settings leave it open."""

    code_size: int
    nodes: tuple[int, ...]
    activation: Activation


@dataclass(frozen=True)
class Networks:
    """The parts of one autoencoder; they share their weights. All arrays are float32 in scaled units.

    Attributes:
        encoder: `(n, L, F)` → code `(n, Z)`.
        decoder: code `(n, Z)` → `(n, L, F)`.
        autoencoder: `(n, L, F)` → `(n, L, F)`, the one after the other.
    """

    encoder: Any
    decoder: Any
    autoencoder: Any


def code_size(shape: Shape, share: int = 16) -> int:
    """Return a code's size where nothing else is said: the window's cells ÷ `share`, from 2 to 16, if it has 2."""
    cells = shape.length * shape.features
    return min(16, max(min(2, cells), cells // share))


class Autoencoder(ABC):
    """One kind of autoencoder: builds its networks, and may change how they are trained and scored.

    `defaults`, `encoder` and `decoder` are what a kind must have. In the order in which training calls them:
    `check → encoder, decoder → build → trainer → solve (or gradient steps on the trainer) → settle → figures`, and
    `cell_errors` when the graph is exported.

    Attributes:
        kind: the name of its file.
        options: the settings that only this kind has.
        draws: whether its codes are distributed as a standard normal, so that windows can be drawn.
        cleans: whether it is trained to take noise away.
    """

    kind: ClassVar[str]
    options: ClassVar[type[Options]] = Options
    draws: ClassVar[bool] = False
    cleans: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def defaults(cls, shape: Shape) -> Defaults:
        """Return what suits windows of this shape where the settings say nothing."""

    @classmethod  # noqa: B027 - a kind may refuse, none must
    def check(cls, shape: Shape, hyper: Hyperparameters) -> None:
        """Refuse hyper-parameters with which this kind is not what its name says, or cannot be built.

        Raises:
            ValueError: with one line that names the setting and says what to do.
        """

    @classmethod
    @abstractmethod
    def encoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the encoder: a Keras model from scaled windows `(n, L, F)` to codes `(n, code_size)`."""

    @classmethod
    @abstractmethod
    def decoder(cls, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401 - a Keras model; Keras has no types
        """Build the decoder: a Keras model from codes `(n, code_size)` to scaled windows `(n, L, F)`."""

    @classmethod
    def build(cls, shape: Shape, hyper: Hyperparameters) -> Networks:
        """Build encoder, decoder and both in a row, with fresh weights."""
        import keras

        encoder, decoder = cls.encoder(shape, hyper), cls.decoder(shape, hyper)
        inputs = keras.Input((shape.length, shape.features), name="scaled")
        autoencoder = keras.Model(inputs, decoder(encoder(inputs)), name=cls.kind)
        return Networks(encoder, decoder, autoencoder)

    @classmethod
    def trainer(cls, networks: Networks, shape: Shape, hyper: Hyperparameters) -> Any:  # noqa: ANN401, ARG003 - a Keras model; kinds override it
        """Return the Keras model that is fitted: scaled windows in, reconstruction out, sharing the networks' weights.

        A kind that corrupts its input, samples its code or adds a penalty returns its own model here.
        """
        return networks.autoencoder

    @classmethod
    def solve(
        cls,
        networks: Networks,  # noqa: ARG003 - for the kinds that do
        windows: Callable[[], Iterator[NDArray[Any]]],  # noqa: ARG003 - for the kinds that do
    ) -> bool:
        """Set the weights at once, where the kind can; False (as here) asks for training by gradient steps.

        Args:
            networks: the networks with fresh weights.
            windows: starts a pass over the scaled training windows, in batches `(b, L, F)` float32, no NaN.
        """
        return False

    @classmethod  # noqa: B027 - most kinds have nothing to measure
    def settle(cls, networks: Networks, hyper: Hyperparameters, windows: Callable[[], Iterator[NDArray[Any]]]) -> None:
        """Set what is measured on the trained networks and not learned by gradient, once training has ended.

        It must be held in weights of the autoencoder, for only those are saved. `windows` as for `solve`.
        """

    @classmethod
    def figures(
        cls,
        networks: Networks,  # noqa: ARG003 - for the kinds that have some
        windows: Callable[[], Iterator[NDArray[Any]]],  # noqa: ARG003 - the same
    ) -> dict[str, float]:
        """Return what this kind alone has to report, by name; it is written into the bundle.

        Args:
            networks: the trained networks.
            windows: starts a pass over the scaled validation windows, in batches `(b, L, F)` float32, no NaN.
        """
        return {}

    @classmethod
    def cell_errors(
        cls,
        networks: Networks,
        scaled: Any,  # noqa: ANN401 - a Keras tensor
        hyper: Hyperparameters,  # noqa: ARG003 - for the kinds whose settings choose the score
    ) -> tuple[Any, Any, Any]:
        """Return errors `(n, L, F)`, reconstruction `(n, L, F)` in scaled units, and codes `(n, Z)`.

        It runs inside the exported graph: Keras operations only, and nothing random. `scaled` has no NaN; what the
        cells that were missing get here is not used. Errors are not negative.
        """
        from keras import ops

        code = networks.encoder(scaled)
        reconstruction = networks.decoder(code)
        return ops.square(scaled - reconstruction), reconstruction, code


def _in_file(name: str) -> type[Autoencoder] | None:
    """Return the kind that the file `name` of this package defines, None if it defines none."""
    for value in vars(importlib.import_module(f"{__package__}.{name}")).values():
        if isinstance(value, type) and issubclass(value, Autoencoder) and vars(value).get("kind") == name:
            return value
    return None


def _files() -> list[str]:
    """Return the names of this package's modules."""
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(__package__).__path__))


def kinds() -> dict[str, type[Autoencoder]]:
    """Return every kind of autoencoder by its name, in the order of the alphabet."""
    found = {name: _in_file(name) for name in _files()}
    return {name: kind for name, kind in found.items() if kind is not None}


def find(name: str) -> type[Autoencoder]:
    """Return the kind of that name.

    Raises:
        LookupError: if there is none; the message names those there are.
    """
    kind = _in_file(name) if name in _files() else None
    if kind is None:
        message = f"there is no autoencoder of the kind {name!r}: there is {', '.join(kinds())}"
        raise LookupError(message)
    return kind
