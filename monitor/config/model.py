"""Section `model`: what scores the windows, for all streams or for each fleet of them.

With `bundles` a stream belongs to the first fleet whose pattern its id matches, and `bundle` beside them takes what is
left; without it, streams that no pattern matches are `filtered`, and counted. A fleet is to itself as if it were alone:
its features, windows, lines, alerts, and the partition's time by which they expire or fall silent are those of a daemon
that gets its streams and no others. It is known by its pattern: a fleet with another pattern is another fleet.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.engines import EngineName
from monitor.identity import ALL


class FleetSettings(BaseModel):
    """An entry of `model.bundles`: which streams, and what scores their windows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    streams: Annotated[str, Field(min_length=1)] = Field(description="glob of the fleet's stream ids")
    bundle: Path = Field(description="directory that `tidegauge train` wrote")


class ModelSettings(BaseModel):
    """Section `model`: what scores the windows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path = Field(
        Path("bundle"),
        description="directory that `tidegauge train` wrote; beside bundles, when it is given: for the other streams",
    )
    bundles: Annotated[tuple[FleetSettings, ...], Field(min_length=1)] | None = Field(
        None, description="several fleets: a stream is scored by the first entry whose streams its id matches"
    )
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        "auto", description="cores that score at once; auto: as many as are fastest, measured at the start"
    )
    engine: EngineName = Field("onnxruntime", description="what runs the networks: onnxruntime or openvino")

    @property
    def most_threads(self) -> int | None:
        """Cores that score at once; None = as many as are fastest."""
        return None if self.threads == "auto" else self.threads

    @property
    def libraries(self) -> tuple[str, ...]:
        """What the last bit of a score depends on: the libraries' names."""
        return ("numpy", "onnxruntime") if self.engine == "onnxruntime" else ("numpy", "onnxruntime", self.engine)

    @model_validator(mode="after")
    def _reachable(self) -> ModelSettings:
        before: list[str] = []
        for number, fleet in enumerate(self.bundles or ()):
            setting = f"bundles.{number}.streams: found {fleet.streams!r}"
            if fleet.streams in before:
                message = f"{setting}, which bundles.{before.index(fleet.streams)} has already: give each its own"
                raise ValueError(message)
            wider = next((at for at, pattern in enumerate(before) if covers(pattern, fleet.streams)), None)
            if wider is not None:
                message = (
                    f"{setting}, but every such stream goes to bundles.{wider} ({before[wider]!r}), which comes first:"
                    " put the narrower pattern before the wider one"
                )
                raise ValueError(message)
            before.append(fleet.streams)
        taker = next((at for at, pattern in enumerate(before) if covers(pattern, ALL)), None)
        if taker is not None and "bundle" in self.model_fields_set:
            message = (
                f"bundle: found {str(self.bundle)!r} for the streams that bundles leave, but bundles.{taker}"
                f" ({before[taker]!r}) takes all: leave one of the two out"
            )
            raise ValueError(message)
        return self

    @property
    def fleets(self) -> dict[str, Path]:
        """The bundle of each fleet by its pattern, in the order in which patterns are tried."""
        if self.bundles is None:
            return {ALL: self.bundle}
        found = {fleet.streams: fleet.bundle for fleet in self.bundles}
        if "bundle" in self.model_fields_set:
            found[ALL] = self.bundle
        return found

    def setting(self, fleet: str) -> str:
        """Return the name of the setting that names the bundle of a fleet."""
        patterns = [each.streams for each in self.bundles or ()]
        return f"model.bundles.{patterns.index(fleet)}.bundle" if fleet in patterns else "model.bundle"


def covers(wide: str, narrow: str) -> bool:
    """Return whether it is plain that every id that matches `narrow` matches `wide`, too.

    Patterns of letters and stars alone are compared; where there is a set, or a question mark in `wide`, nothing is
    plain, and what is unreachable goes unnoticed.
    """
    if wide == narrow:
        return True
    return not set(wide) & set("?[") and "[" not in narrow and fnmatchcase(narrow, wide)
