"""Kinds of autoencoders."""

from __future__ import annotations

import pytest

from models.base import Shape, find, kinds


def test_a_kind_is_a_file() -> None:
    """A new file would not be enough to add a kind."""
    assert all(kind.__module__ == f"models.{name}" for name, kind in kinds().items())
    assert find("lstm") is kinds()["lstm"]


@pytest.mark.parametrize("name", ["gru", "serving", "base", "", "os", "../lstm", "lstm.Lstm"])
def test_another_name_is_refused_with_those_there_are(name: str) -> None:
    """A misspelt kind, or a module that is no kind, would end in a traceback or import something else."""
    with pytest.raises(LookupError, match=r"there is .*lstm"):
        find(name)


@pytest.mark.parametrize(
    ("shape", "code"), [(Shape(24, 1), 6), (Shape(3, 1), 4), (Shape(140, 1), 16), (Shape(64, 8), 16)]
)
def test_the_code_follows_the_window(shape: Shape, code: int) -> None:
    """A code as large as the window would let the network copy its input."""
    assert find("lstm").defaults(shape).code_size == code
