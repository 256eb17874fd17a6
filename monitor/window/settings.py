"""Section `window` of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from monitor.duration import Duration, PositiveDuration

NEEDS_GRID = "needs window.interval: without a time grid there are no empty cells"
"""Why `max_gap` without an interval is refused."""


class WindowSettings(BaseModel):
    """How records become windows. A bundle carries the values that its model was trained with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    length: Annotated[int, Field(ge=1, le=100_000)] = Field(64, description="rows (or cells) in a window")
    stride: Annotated[int, Field(ge=1, le=100_000)] = Field(
        8, description="rows (or cells) from one window to the next"
    )
    interval: PositiveDuration | None = Field(
        None, description="width of a cell of the time grid, aligned to the epoch; null: every record is a row"
    )
    aggregate: Literal["mean", "last", "min", "max", "sum"] = Field(
        "mean", description="what several records in one cell become (with interval)"
    )
    max_gap: Annotated[int, Field(ge=0, le=10_000)] = Field(
        0, description="so many empty cells in a row are filled; more restart the window (with interval)"
    )
    fill: Literal["hold", "linear"] = Field("hold", description="how empty cells are filled (with interval)")
    lateness: Duration = Field(
        Duration("0s"), description="how long a record or cell stays open for stragglers, in event time"
    )
    max_missing: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="above this share of missing and filled values a window is not scored"
    )

    @model_validator(mode="after")
    def _consistent(self) -> WindowSettings:
        # An interval that is not mentioned is the bundle's, which nobody has looked at yet.
        if self.gaps_without_grid and "interval" in self.model_fields_set:
            message = f"max_gap {NEEDS_GRID}"
            raise ValueError(message)
        return self

    @property
    def gaps_without_grid(self) -> bool:
        """Whether gaps are to be filled where there are no cells that could be empty."""
        return self.max_gap > 0 and self.interval is None

    @property
    def interval_ms(self) -> int:
        """Width of a cell in ms, 0 without a grid."""
        return 0 if self.interval is None else self.interval.ms

    @property
    def buffered(self) -> bool:
        """Whether a used record waits before it becomes a row (a time grid or lateness)."""
        return self.interval is not None or self.lateness.ms > 0
