"""YAML without PyYAML's traps: what looks like a number is one, what does not is text, and no key stands twice.

PyYAML follows YAML 1.1, in which `1e-3` is text, `no` is false, `012` is ten, and `12:30` a number in base sixty; and
it drops the first of two equal keys silently. This loader resolves scalars as YAML 1.2's core schema does.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

_BRACKETS = re.compile(r"[\[\]{}]")
_DEEPEST = 100
_MOST = 100_000


class YamlError(Exception):
    """The text is no YAML, or has a key twice; the message says where."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own shape


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    """Construct a whole number."""
    try:
        return int(str(loader.construct_scalar(node)))
    except ValueError:  # Python reads no number of more than 4,300 digits
        raise _wrong(node, "is no number, or one of too many digits") from None


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    """Construct a number with a fraction or an exponent, refusing one that is too large."""
    try:
        found = float(str(loader.construct_scalar(node)))
    except ValueError:
        raise _wrong(node, "is no number") from None
    if not math.isfinite(found):
        raise _wrong(node, "is too large a number")
    return found


def _wrong(node: yaml.ScalarNode, why: str) -> YamlError:
    return YamlError(f"line {node.start_mark.line + 1}: {node.value[:40]} {why}")


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    """Construct a mapping, refusing doubled keys."""
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            message = f"line {key_node.start_mark.line + 1}: the key {key!r} is no text"
            raise YamlError(message)
        if key in found:
            message = f"line {key_node.start_mark.line + 1}: the key {key!r} stands twice"
            raise YamlError(message)
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse(text: str) -> Any:  # noqa: ANN401 - whatever the text says
    """Return what a YAML text says.

    Raises:
        YamlError: if it is no YAML, a mapping has a key twice, or it is nested deeper or repeated oftener (by aliases)
            than any configuration is: PyYAML takes minutes for the one, and whoever looks at the other takes for ever.
    """
    _check_depth(text)
    try:
        found = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        problem = getattr(error, "problem", None) or "this is no YAML"
        if "'\\t'" in problem:
            problem = "a tab: YAML is indented with spaces"
        message = f"{where}{problem}"
        raise YamlError(message) from None
    except RecursionError:
        message = "nested too deeply"
        raise YamlError(message) from None
    _size(found, {})
    return found


def _check_depth(text: str) -> None:
    """Refuse a text with many more brackets open than closed at some place, be it in quotes."""
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        for mark in _BRACKETS.findall(line):
            depth += 1 if mark in "[{" else -1
            if depth > _DEEPEST:
                message = f"line {number}: nested too deeply"
                raise YamlError(message)


def _size(value: object, known: dict[int, int]) -> int:
    """Return how many values a value holds, shared ones as often as they are named; each is looked at once."""
    if not isinstance(value, dict | list):
        return 1
    size = known.get(id(value))
    if size is None:
        known[id(value)] = _MOST  # of what holds itself there is no end
        inner = value.values() if isinstance(value, dict) else value
        size = known[id(value)] = 1 + sum(_size(each, known) for each in inner)
        if size > _MOST:
            message = f"it holds more than {_MOST} values, as often as its aliases name them"
            raise YamlError(message)
    return size
