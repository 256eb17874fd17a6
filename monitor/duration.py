"""Durations as an operator writes them: `30s`, `12h`, `1d`, `250ms`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PATTERN = r"^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)$"


class Duration(str):
    """A length of time as text, a number and a unit of `ms s m h d w`; `.ms` is its value in milliseconds.

    Raises:
        ValueError: if the text is not a number and one of the units.
    """

    __slots__ = ("ms",)
    ms: int

    def __new__(cls, text: str) -> Self:
        """Read the text."""
        match = re.fullmatch(_PATTERN, text)
        if match is None:
            message = f"{text!r} is no duration: write a number and one of ms, s, m, h, d, w, such as 30s or 12h"
            raise ValueError(message)
        self = super().__new__(cls, text)
        self.ms = round(float(match[1]) * _UNITS[match[2]])
        return self

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return self.ms / 1_000

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate as text, keep as `Duration`."""
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe it to an editor."""
        return {"type": "string", "pattern": _PATTERN, "examples": ["30s", "12h"]}


def _positive(duration: Duration) -> Duration:
    if duration.ms < 1:
        message = "must be 1ms or longer"
        raise ValueError(message)
    return duration


PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
"""A duration of at least a millisecond."""
