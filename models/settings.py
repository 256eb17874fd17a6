"""Section `train`: which autoencoder is trained, and how; what is left empty its kind chooses."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from models.base import Activation, Hyperparameters, Loss, Optimizer, ScalingMethod, Schedule, Shape, find


class TrainSettings(BaseModel):
    """Section `train`: which autoencoder, and how it is trained. What is left empty the kind chooses.

    Attributes:
        preset: `plain` (one autoencoder, whose error is the score) or `quality` (a detector of several members).
        kind: kind of autoencoder; the name of a module of `models`.
        code_size: numbers in the code.
        layers: layers of the encoder, mirrored by the decoder; empty = as many as `nodes` has.
        nodes: units of each layer from the input to the code; one number stands for all layers.
        loss: `mse` or `binary_crossentropy` (needs scaled values in [0, 1]).
        activation: activation of the layers.
        optimizer: name of the optimizer.
        learning_rate: step size at the start.
        schedule: `plateau` (halved when the validation loss stops falling, the best epoch kept) or `cosine` (falls to
            nearly 0 over `epochs`, all of which are run, the last one kept).
        batch_size: windows in a step.
        epochs: most epochs; an epoch has at least 50 steps.
        patience: epochs without a lower validation loss after which training stops (`schedule: plateau`).
        validation_split: share of the windows that decides when to stop.
        calibration_split: share of the windows that scores of normal windows are measured on.
        scaling: `standard` (mean 0, deviation 1), `minmax` ([0, 1] on the training rows) or `none`.
        seed: of the weights, the order of windows and the split.
        options: settings that only the kind has.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["plain", "quality"] = "plain"
    kind: str = "lstm"
    code_size: int | None = Field(default=None, ge=1)
    layers: int | None = Field(default=None, ge=1, le=64)
    nodes: int | tuple[int, ...] | None = None
    loss: Loss = "mse"
    activation: Activation | None = None
    optimizer: Optimizer = "adam"
    learning_rate: float = Field(default=0.002, gt=0, allow_inf_nan=False)
    schedule: Schedule = "plateau"
    batch_size: int = Field(default=32, ge=1)
    epochs: int = Field(default=60, ge=1)
    patience: int = Field(default=6, ge=1)
    validation_split: float = Field(default=0.15, gt=0, lt=1)
    calibration_split: float = Field(default=0.15, gt=0, lt=1)
    scaling: ScalingMethod = "standard"
    seed: int = Field(default=0, ge=0, lt=2**32)
    options: dict[str, JsonValue] = {}

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        """Refuse a kind that there is no module for."""
        try:
            find(kind)
        except LookupError as error:
            raise ValueError(str(error)) from None
        return kind

    @field_validator("nodes")
    @classmethod
    def _positive(cls, nodes: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        """Refuse layers without units."""
        if nodes is not None and (min((nodes,) if isinstance(nodes, int) else nodes, default=0) < 1):
            message = "every layer needs at least one unit, such as nodes: [64, 32]"
            raise ValueError(message)
        return nodes

    @model_validator(mode="after")
    def _agree(self) -> TrainSettings:
        """Refuse settings that contradict each other."""
        if isinstance(self.nodes, tuple) and self.layers is not None and len(self.nodes) != self.layers:
            message = f"layers is {self.layers}, but nodes has {len(self.nodes)}: leave layers out, or make them agree"
            raise ValueError(message)
        if self.loss == "binary_crossentropy" and self.scaling == "standard":
            message = "loss binary_crossentropy needs values in [0, 1]: set train.scaling to minmax"
            raise ValueError(message)
        if self.validation_split + self.calibration_split >= 1:
            message = "validation_split and calibration_split leave nothing to train on: their sum must be below 1"
            raise ValueError(message)
        try:
            find(self.kind).options.model_validate(self.options)
        except ValidationError as error:
            first = error.errors()[0]
            message = f"options.{'.'.join(map(str, first['loc']))} of the kind {self.kind}: {first['msg']}"
            raise ValueError(message) from None
        return self

    def resolve(self, shape: Shape) -> Hyperparameters:
        """Return every hyper-parameter, the kind's choices filled in for windows of this shape."""
        kind = find(self.kind)
        chosen = kind.defaults(shape)
        nodes = chosen.nodes if self.nodes is None else self.nodes
        if isinstance(nodes, int):
            nodes = (nodes,) * (self.layers or len(chosen.nodes))
        elif self.layers is not None and len(nodes) != self.layers:
            nodes = (nodes + nodes[-1:] * self.layers)[: self.layers]
        fields = self.model_dump(exclude={"preset", "kind", "options"}) | {
            "code_size": self.code_size or chosen.code_size,
            "layers": len(nodes),
            "nodes": nodes,
            "activation": self.activation or chosen.activation,
            "options": kind.options.model_validate(self.options).model_dump(),
        }
        return Hyperparameters.model_validate(fields)
