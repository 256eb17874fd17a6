"""JSON Schemas of what other people write and read: the configuration, records, alerts.

They are made from the models that the daemon itself uses, so that they cannot say anything else; only the record has
none (its decoder is made at start), and is written here. Within v1 there are additions only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from monitor.codec import AlertData, AlertEvent
from monitor.config import Config
from monitor.identity import LONGEST
from monitor.threshold import Tracked

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_GENERATED = re.compile(r"monitor__(source|sink|threshold)s?__(\w+)__Settings")
_ATTRIBUTE = re.compile(r"^ {4}(\w+): ((?:.+\n?(?: {8}.*\n?)*))", re.MULTILINE)


def config() -> Schema:
    """Return the schema of a configuration file."""
    schema = _of(Config, "urn:tidegauge:config", "Configuration of tidegauge")
    parts = schema["$defs"]
    for name, part in parts.items():
        kind = name.partition("-")[0]
        properties = part.get("properties", {})
        properties.pop("sasl_plain_password", None)  # comes from the environment, never from the file
        if kind in {"source", "sink"} or (kind == "threshold" and properties["type"]["const"] != _default_threshold()):
            part["required"] = ["type", *(key for key in part.get("required", ()) if key != "type")]
    sink = schema["properties"]["sink"]
    sink["anyOf"] = [sink["items"], {"type": "array", "items": sink.pop("items")}]
    del sink["type"]
    return schema


def record() -> Schema:
    """Return the schema of a record as it is by default (`record.stream`, `record.time`, … can name other fields)."""
    number = {"type": ["number", "null"]}
    stream = {
        "description": "id of the stream; left out, the Kafka key is the id",
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": LONGEST,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
    }
    time = {
        "description": "ISO 8601 (without an offset it is UTC), or a number in record.time_unit, ms by default;"
        " left out, the Kafka timestamp is the time",
        "type": ["string", "number", "null"],
        "examples": ["2026-11-21T12:00:00.250Z", 1795262400250],
    }
    values = {
        "description": "value of each feature; null or left out = missing; at least one is there",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": number,
    }
    sensor = {"description": "name of the feature that `value` is of", "type": "string"}
    return {
        "$schema": _DIALECT,
        "$id": "urn:tidegauge:record:v1",
        "title": "Record",
        "description": "Value of a message of the input topic. Other fields than these are ignored.",
        "type": "object",
        "properties": {"stream": stream, "time": time},
        "anyOf": [
            {
                "title": "wide: all features in one record",
                "required": ["values"],
                "properties": {"values": values},
            },
            {
                "title": "long: one record a sensor (record.layout: long)",
                "required": ["sensor", "value"],
                "properties": {"sensor": sensor, "value": {"description": "its value", "type": "number"}},
            },
        ],
    }


def alert() -> Schema:
    """Return the schema of an event of the alerts topic."""
    return _of(AlertEvent, "urn:tidegauge:alert:v1", "Alert event")


def alert_data() -> Schema:
    """Return the schema of an event's `data`, which the event names by `dataschema`."""
    return _of(AlertData, "urn:tidegauge:alert-data:v1", "Alert data")


SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "config": config,
    "record": record,
    "alert": alert,
    "alert-data": alert_data,
}


def _of(model: type[BaseModel], identifier: str, title: str) -> Schema:
    """Return the schema of a model, without what only says where it is in our code."""
    plain = _plain(model.model_json_schema())
    parts = {_part(name): _described(part) for name, part in plain.pop("$defs", {}).items()}
    schema = {"$schema": _DIALECT, "$id": identifier, "title": title, **plain}
    if parts:
        schema["$defs"] = dict(sorted(parts.items()))
    return schema


def _plain(node: Any, *, names: bool = False) -> Any:  # noqa: ANN401 - any JSON
    """Drop titles, which only repeat names, and rename references; `names` = the keys are names of ours."""
    if isinstance(node, list):
        return [_plain(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    found = {}
    for key, value in node.items():
        if names or key != "title":
            found[key] = _plain(value, names=not names and key in {"properties", "$defs"})
    if "$ref" in found:
        found["$ref"] = _reference(found["$ref"])
    found.pop("discriminator", None)  # OpenAPI's, not JSON Schema's
    return found


def _reference(text: str) -> str:
    place, _, name = text.rpartition("/")
    return f"{place}/{_part(name)}"


def _part(name: str) -> str:
    """Return a readable name for a part that pydantic names by its module."""
    match = _GENERATED.fullmatch(name)
    return f"{match[1]}-{match[2]}" if match else name


def _described(part: Schema) -> Schema:
    """Move what a docstring says of each attribute to the attribute."""
    text, _, attributes = str(part.get("description", "")).partition("\n\nAttributes:\n")
    if not attributes:
        return part
    for name, said in _ATTRIBUTE.findall(attributes):
        if name in part["properties"]:
            part["properties"][name].setdefault("description", " ".join(said.split()))
    return {**part, "description": text}


def _default_threshold() -> str:
    """Return the type that a threshold without one is of."""
    return str(Tracked.Settings.model_fields["type"].default)
