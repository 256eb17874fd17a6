"""Reads a configuration: the file, the environment over it, and `--set` over both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from monitor import sinks, sources
from monitor.config.settings import Config
from monitor.config.wording import guessed, lines, mistyped
from monitor.strict_yaml import YamlError, parse
from monitor.threshold import AnyThresholdSettings

EXIT_CONFIG = 78
_PASSWORD = "sasl_plain_password"  # noqa: S105 - the name of a setting


class ConfigError(Exception):
    """The configuration cannot be used; each line of the message names a path, what was found and what is expected."""


def load(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Args:
        path: the YAML file; None = the defaults.
        overrides: `key=value` with dotted keys, over the environment, over the file.

    Raises:
        ConfigError: if something is wrong with it.
    """
    name = "configuration" if path is None else str(path)
    told = {} if path is None else _read(path)
    merged = deepcopy(told)
    _merge(merged, _environment(name))
    for override in overrides:
        _override(merged, override)
        _override(told, override)
    try:
        config = Config(**merged)
    except ValidationError as error:
        raise ConfigError("\n".join(lines(name, error, merged, _kinds()))) from None
    # pydantic takes text for numbers, which the environment needs; in a file it is a mistake.
    wrong = mistyped(told, config)
    if wrong:
        raise ConfigError("\n".join(guessed(name, wrong)))
    return config


def _kinds() -> set[str]:
    """Return every `type:` that a section can have."""
    thresholds = get_args(get_args(AnyThresholdSettings)[0])
    return {*sources.kinds(), *sinks.kinds(), *(kind.model_fields["type"].default for kind in thresholds)}


def _read(path: Path) -> dict[str, Any]:
    """Return what the file says."""
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise ConfigError(message) from None
    except UnicodeDecodeError:
        message = f"{path}: is not UTF-8"
        raise ConfigError(message) from None
    except YamlError as error:
        message = f"{path}: {error}"
        raise ConfigError(message) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        what = "a list" if isinstance(found, list) else repr(found)[:60]
        message = f"{path}: found {what}, expected sections such as source:"
        raise ConfigError(message)
    for section in (found.get("source"), *_listed(found.get("sink"))):
        if isinstance(section, dict) and "sasl_plain_password" in section:
            message = (
                f"{path}: source.sasl_plain_password: a password does not belong here: use sasl_plain_password_file"
            )
            raise ConfigError(message)
    return found


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _environment(name: str) -> dict[str, Any]:
    """Return what TIDEGAUGE_* says; SECTION__KEY reaches a setting."""
    try:
        found = EnvSettingsSource(Config)()
    except Exception as error:  # noqa: BLE001 - pydantic-settings wraps what parsing one variable raised
        message = f"{name}: environment: {error}"
        raise ConfigError(message) from None
    return dict(found)


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Put `other` over `into`, section by section."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _override(into: dict[str, Any], override: str) -> None:
    """Put one `key=value` over `into`."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        message = f"--set {override}: write key=value, such as window.length=140"
        raise ConfigError(message)
    if key.rpartition(".")[2] == _PASSWORD:
        message = f"--set {key}: a password does not belong on a command line: use {_PASSWORD}_file"
        raise ConfigError(message)
    try:
        value = parse(text)
    except YamlError as error:
        message = f"--set {override}: {error}"
        raise ConfigError(message) from None
    node = into
    *parents, last = key.split(".")
    for parent in parents:
        inner = node.get(parent)
        if not isinstance(inner, dict):
            inner = node[parent] = {}
        node = inner
    node[last] = value
