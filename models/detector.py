"""What a bundle of the preset `quality` says of its detector: members, their voices, and how these are fused."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.errors import Form
from models.view import View

Fusion = Literal["mean", "mean_of_members", "root_mean_square", "max"]

ARRAYS = "detector.npz"
"""The file that distances begin with: `PART.mean`, `PART.covariance`; of a summary `VOICE.mean`, `VOICE.factor`; and
`PART.squares`, the usual error of each feature of the member that alerts name features by."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Strict):
    """A member: something that rebuilds what it sees.

    Attributes:
        name: its name within the bundle.
        kind: `lstm` and other networks, `linear` (principal components) or `gaussian` (nothing is rebuilt: the view
            itself is measured).
        onnx: the file of its graph; None for `gaussian`.
        view: what it sees of a window.
    """

    name: str
    kind: str
    onnx: str | None
    view: View


class Voice(_Strict):
    """One error a window, of one member.

    Attributes:
        name: its name within the bundle.
        part: the member's name.
        form: what the residual is boiled down to.
        q50: quantile 0.5 of its log errors on normal windows (of a linear member see `models.voices`).
        qt: quantile 0.99.
        mean: mean.
        variance: variance.
    """

    name: str
    part: str
    form: Form
    q50: float
    qt: float
    mean: float
    variance: float = Field(ge=0)


class Rehearsal(_Strict):
    """The events of the training windows, played through the detector (`models.rehearsal`).

    Attributes:
        days: how long they are, of all streams together.
        heights: the score that two windows in a row reach, of each event above 0.36; falling.
    """

    days: float = Field(ge=0)
    heights: tuple[float, ...] = ()


class Detector(_Strict):
    """The detector.

    Attributes:
        scale: `stream` = each stream's own level and spread; `standard` = the bundle's scaling; `raw` = as it comes.
        level_rows: rows after which a stream's own level stays (scale `stream`).
        short: log errors that are averaged before a voice is judged.
        warmup: windows of a new stream that are learned from and not scored.
        weight: windows that a voice's calibration counts for in a new stream.
        fuse: mean, root mean square (of what is above 0: loud voices count more) or max of the voices; or the mean in
            which each member counts as much as another, however many voices it has.
        gain: what that is multiplied by, so that one line fits: a mean of several voices is calmer than one of them.
        profile: whether the hour of the day is a voice of its own.
        extreme: whether values beyond all that came before are.
        windows_per_day: of a stream.
        parts: the members.
        voices: the voices.
        rehearsal: how high the training windows stand; None where that is not known (scale `stream`, older bundles).
    """

    scale: Literal["stream", "standard", "raw"]
    level_rows: int = Field(ge=1)
    short: int = Field(ge=1)
    warmup: int = Field(ge=0)
    weight: float = Field(gt=0)
    fuse: Fusion
    gain: float = Field(default=1.0, gt=0)
    profile: bool
    extreme: bool
    windows_per_day: float = Field(gt=0)
    parts: tuple[Part, ...] = Field(min_length=1)
    voices: tuple[Voice, ...] = Field(min_length=1)
    rehearsal: Rehearsal | None = None
