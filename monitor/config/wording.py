"""What is wrong with a configuration, one line each: the path, what was found, what is expected."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

_LONGEST = 60
_SECRET = re.compile(r"(?i)passw|secret|token")
_LEAKY = re.compile(r"(?i)(?:passw|secret|token)(?!\w*$)")  # followed by more than the rest of a name
_ALTERNATIVES = "source", "threshold"  # sections whose `type` decides what else is in them; `sink` is a list of such

_PLAIN = {
    "missing": "missing",
    "extra_forbidden": "unknown key",
    "union_tag_not_found": "missing",
}
_EXACT = {  # the type was right: what other types the value could have had is of no interest
    "string_too_short", "string_pattern_mismatch", "int_parsing_size", "finite_number", "too_short",
    "greater_than", "greater_than_equal", "less_than", "less_than_equal",
}  # fmt: skip
_NO_DURATION = "is no duration"
_EXPECTED = {
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": "text of the form {pattern}",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "a list of at least {min_length}",
    "dict_type": "a section of settings",
    "model_type": "a section of settings",
    "model_attributes_type": "a section of settings",
    "literal_error": "{expected}",
    "path_type": "a path",
    "union_tag_invalid": "{expected_tags}",
}
_DURATION = "a duration like 30s"
_Place = tuple[str | int, ...]


def lines(name: str, error: ValidationError, given: Mapping[str, Any], kinds: Collection[str]) -> list[str]:
    """Return one line for each thing that is wrong.

    Args:
        name: of the file.
        error: what pydantic says.
        given: what the configuration says.
        kinds: every `type:` that a section can have.
    """
    places: dict[_Place, list[Any]] = {}
    for item in error.errors():
        path = _path(item["loc"], given, kinds)
        if item["type"].startswith("union_tag"):
            path = (*path, "type")
        places.setdefault(path, []).append(item)
    return [
        ": ".join(part for part in (name, _written(path, text), text) if part)
        for path, items in places.items()
        for text in _texts(path, items, deeper=any(o[: len(path)] == path != o for o in places))
    ]


def _written(path: _Place, text: str) -> str:
    """Return a place as one text; a key that is none may be a password that lost its colon, and is cut there."""
    parts = [str(part) for part in path]
    leak = _LEAKY.search(parts[-1]) if parts and text == _PLAIN["extra_forbidden"] else None
    if leak is not None:
        parts[-1] = f"{parts[-1][: leak.end()]}…"
    return ".".join(parts)


def _texts(path: _Place, items: Sequence[Any], *, deeper: bool) -> list[str]:
    """Return what is to be said of one place; pydantic has an item for each form that the value could have had."""
    if any(item["type"] in _PLAIN for item in items):
        return [_PLAIN[item["type"]] for item in items[:1] if item["type"] in _PLAIN]
    sections = [item for item in items if isinstance(item["input"], Mapping | BaseModel) or not path]
    said = [_message(item) for item in sections if item["type"] == "value_error"]
    if said or deeper:  # what one form has to say of an entry of a list says more than what others say of the list
        return list(dict.fromkeys(said))
    exact = [item for item in items if item["type"] in _EXACT or _own(item)]
    value = items[0]["ctx"]["tag"] if items[0]["type"] == "union_tag_invalid" else items[0]["input"]
    found = f"found {_shown(path, value)}"
    own = [_message(item) for item in exact if _own(item) and not str(item["msg"]).startswith("Value error, must be ")]
    if own:
        return [f"{found}: {text}" for text in dict.fromkeys(own)]
    return [f"{found}, expected {_either(map(_expected, exact or items))}"]


def _own(item: Any) -> bool:  # noqa: ANN401 - pydantic's dictionary
    """Return whether a check of ours has found a value of the right type wrong."""
    return item["type"] == "value_error" and _NO_DURATION not in item["msg"]


def mistyped(given: Mapping[str, Any], read: BaseModel) -> dict[_Place, tuple[Any, str]]:
    """Return the values of the file that were only understood by guessing: `"64"` for 64, `no` for false, `true` for 1.

    Args:
        given: what the file says.
        read: what was made of it.
    """
    found: dict[_Place, tuple[Any, str]] = {}
    _compare((), given, read, found)
    return found


def guessed(name: str, wrong: Mapping[_Place, tuple[Any, str]]) -> list[str]:
    """Return one line for each value that `mistyped` found."""
    return [
        f"{name}: {'.'.join(map(str, path))}: found {_shown(path, value)}, expected {expected}"
        for path, (value, expected) in wrong.items()
    ]


def _compare(path: _Place, given: object, read: object, found: dict[_Place, tuple[Any, str]]) -> None:
    if isinstance(given, Mapping) and isinstance(read, BaseModel):
        for key, value in given.items():
            _compare((*path, key), value, getattr(read, key, None), found)
    elif isinstance(given, Mapping) and isinstance(read, tuple) and len(read) == 1:
        _compare(path, given, read[0], found)  # one sink, not in a list
    elif isinstance(given, list) and isinstance(read, tuple) and len(given) == len(read):
        for number, (one, other) in enumerate(zip(given, read, strict=True)):
            _compare((*path, number), one, other, found)
    elif isinstance(read, bool) and not isinstance(given, bool):
        found[path] = (given, "true or false")
    elif isinstance(read, int | float) and isinstance(given, bool | str) and not isinstance(read, bool):
        found[path] = (given, "a whole number" if isinstance(read, int) else "a number")


def _path(location: Sequence[str | int], given: Mapping[str, Any], kinds: Collection[str]) -> _Place:
    """Return where something is in the file: pydantic's place without the names of alternatives."""
    tag = 2 if location[:1] == ("sink",) else 1 if location[:1] and location[0] in _ALTERNATIVES else None
    node: Any = given
    path: list[str | int] = []
    for number, part in enumerate(location):
        last = number == len(location) - 1
        if number == tag and part in kinds:
            continue
        if isinstance(node, list) and isinstance(part, int):
            node = node[part] if part < len(node) else None
        elif isinstance(node, Mapping) and part in node:
            node = node[part]
        elif not (isinstance(node, Mapping) and isinstance(part, str) and last):
            continue  # one alternative of several, or the only sink
        path.append(part)
    return tuple(path)


def _expected(item: Any) -> str:  # noqa: ANN401 - pydantic's dictionary
    """Return what is expected, in plain words."""
    form = _EXPECTED.get(item["type"])
    if form is None:
        return _message(item)
    text = form.format(**item.get("ctx", {}))
    if item["type"] in {"literal_error", "union_tag_invalid"}:
        return _either(re.findall(r"'([^']*)'", text))
    if item["type"] == "string_type" and isinstance(item["input"], int | float):
        return f"text (in quotes, or a duration with its unit, such as {item['input']}s)"
    return text


def _message(item: Any) -> str:  # noqa: ANN401 - as above
    """Return what a check of ours says."""
    text = str(item["msg"]).removeprefix("Value error, ")
    return _DURATION if _NO_DURATION in text else text.removeprefix("must be ")


def _either(expected: Iterable[str]) -> str:
    """Return alternatives as one text."""
    *others, last = dict.fromkeys(expected)
    return f"{', '.join(others)} or {last}" if others else last


def _shown(path: _Place, value: object) -> str:
    """Return what was found, shortened; never a secret."""
    names = [part for part in path if isinstance(part, str)]
    if names and _SECRET.search(names[-1]) and not names[-1].endswith("_file"):
        return "a value"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a section of settings"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
