"""The settings of everything. Each stage's lie beside the stage; here they are only put together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from models.settings import TrainSettings
from monitor import sinks, sources
from monitor.alert import AlertSettings
from monitor.config.model import ModelSettings
from monitor.http import HttpSettings
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.names import TopicName
from monitor.logs import LogSettings
from monitor.record import RecordSettings
from monitor.sinks.base import SinkSettings
from monitor.sinks.kafka import Settings as KafkaSink
from monitor.sources.base import Output, SourceSettings
from monitor.state import StateSettings
from monitor.threshold import AnyThresholdSettings, Tracked
from monitor.window import WindowSettings

_TOPIC: TypeAdapter[str] = TypeAdapter(TopicName)

if TYPE_CHECKING:
    AnySource = SourceSettings
    AnySink = SinkSettings
else:
    AnySource = Annotated[reduce(or_, sources.kinds().values()), Field(discriminator="type")]
    AnySink = Annotated[reduce(or_, sinks.kinds().values()), Field(discriminator="type")]


class DeadLetterSettings(BaseModel):
    """Section `dead_letter`: where records go that cannot be used. Without the section they are only counted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["kafka", "jsonl"] | None = Field(None, description="kafka or jsonl; left out: as the source")
    topic: TopicName | None = Field(None, description="topic of the dead letters (kafka)")
    path: str | None = Field(None, min_length=1, description="file of the dead letters (jsonl)")
    late: bool = Field(default=False, description="whether late and repeated records are dead letters too")


class Config(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="TIDEGAUGE_", env_nested_delimiter="__", env_ignore_empty=True
    )

    source: AnySource | None = Field(None, description="where records come from")
    record: RecordSettings = RecordSettings()
    window: WindowSettings = WindowSettings()
    train: TrainSettings = TrainSettings()
    model: ModelSettings = ModelSettings()
    threshold: AnyThresholdSettings = Tracked.Settings()
    alert: AlertSettings = AlertSettings()
    sink: tuple[AnySink, ...] = Field((), description="where alerts go: one sink or a list")
    dead_letter: DeadLetterSettings | None = Field(None, description="where unusable records go")
    state: StateSettings = StateSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @field_validator("sink", mode="before")
    @classmethod
    def _one_or_list(cls, value: object) -> object:
        return [value] if isinstance(value, Mapping) else value

    @field_validator("threshold", mode="before")
    @classmethod
    def _tracked_by_default(cls, value: object) -> object:
        return {"type": "tracked", **value} if isinstance(value, Mapping) and "type" not in value else value

    @model_validator(mode="after")
    def _together(self) -> Config:
        given = self.window.model_fields_set
        if self.record.layout == "long" and "interval" in given and self.window.interval is None:
            message = "record.layout long needs window.interval: one record a sensor is joined on the time grid"
            raise ValueError(message)
        dead = self.dead_letter
        if dead is not None and self.source is not None:
            kind = dead.type or ("kafka" if self.source.type == "kafka" else "jsonl")
            if kind == "kafka" and (dead.topic is None or self.source.type != "kafka"):
                message = "dead_letter of type kafka needs dead_letter.topic, and a Kafka source"
                raise ValueError(message)
            if kind == "jsonl" and dead.path is None:
                message = "dead_letter of type jsonl needs dead_letter.path"
                raise ValueError(message)
        if self.state.type == "kafka" and self.source is not None and self.source.type != "kafka":
            message = "state of type kafka needs a Kafka source"
            raise ValueError(message)
        if self.state.type == "directory" and self.source is not None and not hasattr(self.source, "paths"):
            message = "state of type directory needs a source of files"
            raise ValueError(message)
        self._nameable()
        self._apart()
        for number, sink in enumerate(self.sink):
            if isinstance(self.source, ConnectionSettings) and isinstance(sink, KafkaSink):
                wrong = sink.contradiction(self.source)
                if wrong is not None:
                    message = f"sink.{number}.{wrong}" if len(self.sink) > 1 else f"sink.{wrong}"
                    raise ValueError(message)
        return self

    def _nameable(self) -> None:
        """Refuse state topics that Kafka would: a group may be called what a topic may not.

        Raises:
            ValueError: if the name made for one is none, or too long.
        """
        for topic, name in self.state_topics().items():
            try:
                _TOPIC.validate_python(name)
            except ValidationError:
                made = "source.group_id" if self.state.topic is None else "state.topic"
                message = (
                    f"{made}: the state of {topic!r} would be in the topic {name!r}, which is no name of a topic (at"
                    " most 249 of A-Z a-z 0-9 . _ -): set state.topic to what it shall begin with, such as state.topic:"
                    " tidegauge-state"
                )
                raise ValueError(message) from None

    def _apart(self) -> None:
        """Refuse what would feed the daemon its own output, or lose events.

        Raises:
            ValueError: if one topic or file is named for two things.
        """
        places = [(name, "source.topics") for name in self.topics()]
        places += [(path, "source.path") for path in getattr(self.source, "paths", ()) if path != "-"]
        kafka = [sink for sink in self.sink if sink.type == "kafka"]
        if len(kafka) > 1 and self.source is not None and self.source.type == "kafka":
            message = "sink: found two of type kafka: with a Kafka source there is one alerts topic"
            raise ValueError(message)
        for sink in self.sink:
            place = getattr(sink, "topic", None) or getattr(sink, "path", None)
            places += [] if place in {None, "-"} else [(str(place), "sink")]
        dead = self.dead_letter
        if dead is not None:
            places += [(place, "dead_letter") for place in (dead.topic, dead.path) if place not in {None, "-"}]
        places += [(topic, "state.topic") for topic in self.state_topics().values()]
        taken: dict[str, str] = {}
        for place, setting in places:
            if place in taken:
                message = f"{setting}: {place!r} is named by {taken[place]} already: each needs its own"
                raise ValueError(message)
            taken[place] = setting

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take nothing but what `load` has merged."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    def topics(self) -> tuple[str, ...]:
        """Return the input's topics, as far as they are known before it is opened."""
        return tuple(getattr(self.source, "topics", ()))

    def state_topics(self) -> dict[str, str]:
        """Return the state topic of each input topic; nothing where state is not kept in Kafka."""
        group = getattr(self.source, "group_id", None)
        if group is None or self.state.type == "none":
            return {}
        return {topic: f"{self.state.prefix(group)}-{topic}" for topic in self.topics()}

    def outputs(self) -> list[Output]:
        """Return where events and dead letters go beside a source of files."""
        found: list[Output] = [(f"{sink.type} {getattr(sink, 'path', '')}".rstrip(), sink.file) for sink in self.sink]
        if self.dead_letter is not None and self.dead_letter.path is not None:
            found.append(("dead letters", self.dead_letter.path))
        return found

    def secrets(self) -> list[str]:
        """Return the values that must not show anywhere."""
        found = []
        for section in (self.source, *self.sink):
            for name in type(section).model_fields if section is not None else ():
                value = getattr(section, name)
                if isinstance(value, SecretStr):
                    found.append(value.get_secret_value())
                elif name.endswith("_file") and isinstance(value, Path) and value.is_file():
                    found.append(value.read_text(encoding="utf-8", errors="replace").strip())
        return [text for text in found if text]

    def sha256(self, window: WindowSettings) -> str:
        """Return the hash of what decides what is an alert: record, window (as used), threshold, alert.

        Without rules `alert.ignore` is left out, and so is `alert.quality`: who has none keeps the hash that he had
        before there were any.
        """
        parts = {"record": self.record, "window": window, "threshold": self.threshold, "alert": self.alert}
        plain = {name: part.model_dump(mode="json") for name, part in parts.items()}
        if not self.alert.ignore:
            del plain["alert"]["ignore"]
        if self.alert.quality is None:
            del plain["alert"]["quality"]
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
