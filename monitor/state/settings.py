"""Section `state`: where what is known of the streams is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from monitor.duration import Duration, PositiveDuration

DIRECTORY = "tidegauge-state"
"""Where the state of files is kept unless `path` says otherwise."""

Policy = Literal["refuse", "restart_lines", "keep_lines"]


class StateSettings(BaseModel):
    """Where what is known of the streams is kept, and what a new bundle does to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["kafka", "directory", "none"] | None = Field(
        None,
        description="kafka: a compacted topic for each input topic; directory: path, for files; none: memory alone;"
        " null: as the source (none for standard input)",
    )
    path: Path | None = Field(
        None,
        description="directory of this process alone: of state (type directory; null: tidegauge-state), and of what the"
        " crash-loop breaker notes (Kafka; null: $STATE_DIRECTORY, else a folder in the one for temporary files)",
    )
    topic: str | None = Field(
        None,
        min_length=1,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="the state of input topic X is in the topic <topic>-X; null: <group_id>-state",
    )
    sweep_records: Annotated[int, Field(ge=1)] = Field(
        250_000,
        description="all of a partition's state is written anew once in so many records of it at most; with few streams"
        " sooner: 4 records a stream, 32,000 at least",
    )
    sweep_interval: PositiveDuration = Field(
        Duration("10m"), description="or once in so much time, whichever comes first"
    )
    on_new_bundle: Policy = Field(
        "refuse",
        description="what a bundle that the state has not had does: refuse, restart_lines (lines begin anew, firing"
        " alerts are resolved) or keep_lines",
    )

    @property
    def folder(self) -> Path:
        """The directory of the state of files."""
        return self.path or Path(DIRECTORY)

    def prefix(self, group_id: str) -> str:
        """Return what the names of the state topics of a consumer group begin with."""
        return self.topic or f"{group_id}-state"
