"""Durations as an operator writes them."""

from __future__ import annotations

import copy
import pickle

import pytest
from pydantic import BaseModel, ValidationError

from monitor.duration import Duration, PositiveDuration


class Holder(BaseModel):
    """A section with durations."""

    any: Duration = Duration("0s")
    positive: PositiveDuration = Duration("1s")


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("30s", 30_000), ("1.5m", 90_000), ("12h", 43_200_000), ("1d", 86_400_000), ("2w", 1_209_600_000)],
)
def test_units(text: str, ms: int) -> None:
    """If it failed, every deadline of a configuration would be off by its unit."""
    assert Duration(text).ms == ms
    assert Duration(text).seconds == ms / 1000
    assert Duration(text) == text


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1e3s", "1 s", " 1s", "1s\n", "1S", "1M", "٣s", "1h30m", "nan"])
def test_what_is_no_duration(text: str) -> None:
    """If it failed, a slip of the keyboard would become some other duration."""
    with pytest.raises(ValueError, match="is no duration"):
        Duration(text)


def test_in_a_section() -> None:
    """If it failed, a section would lose the type of its durations, or write them as something else than was read."""
    holder = Holder.model_validate({"any": "0s", "positive": "2h"})
    assert isinstance(holder.positive, Duration)
    assert holder.positive.ms == 7_200_000
    assert holder.model_dump(mode="json") == {"any": "0s", "positive": "2h"}
    assert Holder.model_json_schema()["properties"]["any"]["examples"] == ["30s", "12h"]


@pytest.mark.parametrize("value", ["0s", "0.1ms", 5, None, "soon"])
def test_a_section_refuses(value: object) -> None:
    """If it failed, a stream could expire at every record."""
    with pytest.raises(ValidationError):
        Holder.model_validate({"positive": value})


def test_copies_keep_their_value() -> None:
    """If it failed, a configuration that went to another process would have lost its durations."""
    for found in (copy.deepcopy(Duration("1d")), pickle.loads(pickle.dumps(Duration("1d")))):  # noqa: S301 - our own bytes
        assert found.ms == 86_400_000
