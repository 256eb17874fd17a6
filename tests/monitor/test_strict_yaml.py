"""YAML without traps."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.strict_yaml import YamlError, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("-.5", -0.5),
        ("12", 12),
        ("+3", 3),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("012", "012"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-11-21", "2026-11-21"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("~", None),
        ("null", None),
        ("", None),
        ("'64'", "64"),
        ("<<: 1", {"<<": 1}),
        ("{a: [1, b]}", {"a": [1, "b"]}),
        ("a: &x 1\nb: *x", {"a": 1, "b": 1}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    """If it failed, a value would silently mean something else than what an operator reads."""
    found = parse(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "line 2: the key 'a' stands twice"),
        ("{a: 1, a: 2}", "line 1: the key 'a' stands twice"),
        ("x:\n  - {a: 1, a: 2}", "line 2: the key 'a' stands twice"),
        ("1: 2", "line 1: the key 1 is no text"),
        ("[a]: 2", "line 1: the key ['a'] is no text"),
        ("a:\n\tb: 1", "line 2: a tab: YAML is indented with spaces"),
        ("a: [1", "line 1: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n---\nb: 2", "line 2: but found another document"),
        ("a: !!python/object:os.system x", "line 1: could not determine a constructor for the tag"),
        ("a: &x {b: *x}", "line 1: found unconstructable recursive node"),
        (
            "a: " + "9" * 5_000,
            f"line 1: {'9' * 40} is no number, or one of too many digits",
        ),
        ("a: 1e999", "line 1: 1e999 is too large a number"),
        ("a: !!int abc", "line 1: abc is no number"),
        ("a: !!float abc", "line 1: abc is no number"),
        ('a: "\0"', "this is no YAML"),
        ("[" * 5_000, "line 1: nested too deeply"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_refused(text: str, said: str) -> None:
    """If it failed, a mistake in a file would be dropped silently, or end in a traceback."""
    with pytest.raises(YamlError) as caught:
        parse(text)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{" * 20_000, "a: " + "[" * 101 + "]" * 101, "- " * 500 + "{" * 101])
def test_what_is_nested_deeper_than_any_configuration_is_refused_at_once(text: str) -> None:
    """PyYAML's time for open brackets is quadratic: a file of 20 KB of them would hang `check` for minutes."""
    with pytest.raises(YamlError, match="nested too deeply"):
        parse(text)


def test_aliases_may_be_used_but_not_multiplied() -> None:
    """A few lines of aliases of aliases are a billion values for whoever prints or checks them."""
    shared = parse("a: &a {x: 1}\nb: [*a, *a]\n")
    assert shared == {"a": {"x": 1}, "b": [{"x": 1}, {"x": 1}]}
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for one, other in zip("abcdefgh", "bcdefghi", strict=True):
        text += f"{other}: &{other} [{', '.join([f'*{one}'] * 10)}]\n"
    with pytest.raises(YamlError, match="more than 100000 values"):
        parse(text)
    for text in ("a: &a [*a]", "a: &a {b: *a}", "&a [&b [*a]]"):
        with pytest.raises(YamlError, match=r"recursive|more than 100000 values"):
            parse(text)
