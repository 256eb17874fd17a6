"""Section `alert.quality`: which faults of the data themselves are alerts."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from monitor.duration import Duration, PositiveDuration


class FlatLine(BaseModel):
    """When a value that stays the same is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: PositiveDuration = Field(
        Duration("1h"), description="how long a feature stays the same, at least; twice what it did before, if longer"
    )
    accept: PositiveDuration = Field(
        Duration("1d"),
        description="no more is ever asked for; after twice that much a flat line is usual, and resolves",
    )

    @model_validator(mode="after")
    def _rising(self) -> FlatLine:
        if self.accept.ms < self.after.ms:
            message = "accept must not be shorter than after"
            raise ValueError(message)
        return self


class Silence(BaseModel):
    """When a stream that sends nothing is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factor: Annotated[FiniteFloat, Field(ge=1)] = Field(
        5.0, description="how many times its own usual spacing a stream may be silent (partition time)"
    )
    min: PositiveDuration = Field(Duration("5m"), description="how long it may be at least, whatever its spacing is")


class SamplingRate(BaseModel):
    """When another sampling rate is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factor: Annotated[FiniteFloat, Field(gt=1)] = Field(
        2.0, description="how many times longer or shorter the spacing of a stream's records is than it was"
    )
    after: PositiveDuration = Field(Duration("10m"), description="for how long, at least")
    accept: PositiveDuration = Field(Duration("1d"), description="after so long it is the stream's rate, and resolves")

    @model_validator(mode="after")
    def _rising(self) -> SamplingRate:
        if self.accept.ms < self.after.ms:
            message = "accept must not be shorter than after"
            raise ValueError(message)
        return self


class ClockSkew(BaseModel):
    """When a stream's clock is off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max: PositiveDuration = Field(
        Duration("5m"), description="how far event time may be from Kafka's timestamp; more is a fault"
    )
    after: PositiveDuration = Field(Duration("10m"), description="for how long in every record, by Kafka's timestamps")


class QualitySettings(BaseModel):
    """What is looked for; each kind that is left out is not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flat_line: FlatLine | None = Field(None, description="a feature that varied stays the same")
    missing_feature: PositiveDuration | None = Field(
        None, description="a feature that was there is missing for so long, while records come"
    )
    out_of_range: dict[str, tuple[FiniteFloat | None, FiniteFloat | None]] = Field(
        {}, description="what a feature can be: [low, high], null = open; values outside cannot be true"
    )

    silence: Silence | None = Field(
        None, description="a stream sends nothing, while others of its partition do; many at once are one event"
    )

    sampling_rate: SamplingRate | None = Field(
        None, description="a stream sends more often, or more rarely, than it did"
    )
    clock_skew: ClockSkew | None = Field(
        None, description="a stream's event time is far from Kafka's timestamp, where there is one"
    )

    @model_validator(mode="after")
    def _ranges(self) -> QualitySettings:
        for name, (low, high) in self.out_of_range.items():
            if (low is None and high is None) or (low is not None and high is not None and low >= high):
                message = f"out_of_range.{name}: expected [low, high] with the lower end first, one of them may be null"
                raise ValueError(message)
        return self
