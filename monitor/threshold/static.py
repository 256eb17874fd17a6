"""`static`: one line for all streams, for ever."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from monitor.table import StreamTable
from monitor.threshold.base import Prior, Threshold, ThresholdSettings


class Static(Threshold):
    """One line for all streams: `value`, or the calibration's quantile at the promised rate. It never learns."""

    class Settings(ThresholdSettings):
        """Section `threshold` with `type: static`."""

        type: Literal["static"] = "static"
        value: Annotated[float, Field(gt=0)] | None = Field(None, description="the score that is the line")

        @model_validator(mode="after")
        def _one_line(self) -> Static.Settings:
            if self.value is not None and (self.q is not None or self.alerts_per_stream_per_day is not None):
                message = "set value, or q or alerts_per_stream_per_day, not both"
                raise ValueError(message)
            return self

    def __init__(self, settings: Settings, prior: Prior, open_after: int) -> None:  # noqa: ARG002 - the same for all kinds
        """Set up with the calibration of the bundle."""
        value = settings.value
        self._line = value if value is not None else prior.quantile(1 - settings.rate(prior.windows_per_day))

    def step(  # noqa: D102 - see Threshold
        self,
        table: StreamTable,  # noqa: ARG002 - the same for all kinds
        slots: NDArray[np.int32],  # noqa: ARG002 - the same for all kinds
        score: NDArray[np.float64],
        end: NDArray[np.int64],  # noqa: ARG002 - the same for all kinds
        restarted: NDArray[np.bool_],  # noqa: ARG002 - the same for all kinds
    ) -> NDArray[np.float64]:
        return np.full(len(score), self._line)
