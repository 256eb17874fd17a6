"""Section `alert`: when an alert opens, resolves, and stays away."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from monitor.duration import Duration, PositiveDuration
from monitor.ignore import IgnoreRule
from monitor.quality import QualitySettings


class Severity(BaseModel):
    """From which `anomaly_score` on, at opening, an alert is what; below `warning` it is `info`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warning: Annotated[float, Field(gt=0)] = Field(
        1.0, description="anomaly_score from which an alert is a warning; below it is info"
    )
    critical: Annotated[float, Field(gt=0)] = Field(2.0, description="anomaly_score from which it is critical")


class AlertSettings(BaseModel):
    """Section `alert`: when an alert opens, resolves, and stays away."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    open_after: Annotated[int, Field(ge=1, le=10_000)] = Field(
        2, description="windows over the line in a row that open"
    )
    resolve_after: Annotated[int, Field(ge=1, le=10_000)] = Field(
        5, description="windows not over the line in a row that resolve"
    )
    rest: Annotated[int, Field(ge=0)] | Duration | Literal["auto"] = Field(
        "auto",
        description="after an opening none other opens: windows, event time such as 2h, or auto (a fifth of the"
        " bundle's windows_per_stream, at most 150)",
    )
    expire: PositiveDuration = Field(
        Duration("1d"), description="a firing alert whose stream sends nothing for so long (partition time) resolves"
    )
    severity: Severity = Field(
        Severity(), description="anomaly_score from which an alert is a warning, or critical; below it is info"
    )
    quality: QualitySettings | None = Field(
        None, description="alerts on the data themselves, of their own kind; null: none, and nothing is kept for them"
    )
    ignore: tuple[IgnoreRule, ...] = Field((), description="rules for windows over their line that do not count")

    @model_validator(mode="after")
    def _rising(self) -> AlertSettings:
        if self.severity.critical < self.severity.warning:
            message = "severity.critical must not be below severity.warning"
            raise ValueError(message)
        return self
