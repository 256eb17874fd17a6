"""The kinds of source; one file each, found by its name, which is the `type:` in the configuration.

A new kind is a module here with a class `Settings` (see `SourceSettings`), and `suffixes` or `schemes` if it reads
recordings. Nothing else has to know of it. Modules without `Settings` are what the kinds share; one whose name begins
with `_` needs a library that not everybody has, and is imported by its kind alone, when used.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from types import MappingProxyType, ModuleType

from monitor.sources.base import SourceError, SourceSettings
from monitor.sources.compression import bare


@cache
def _modules() -> Mapping[str, ModuleType]:
    """Import the modules of all kinds, in order of their names."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_")
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    return MappingProxyType({name: module for name, module in modules.items() if hasattr(module, "Settings")})


def kinds() -> dict[str, type[SourceSettings]]:
    """Return the settings class of each kind of source by its `type`."""
    return {name: module.Settings for name, module in _modules().items()}


def for_recording(paths: Sequence[str], configured: SourceSettings | None = None) -> SourceSettings:
    """Return the settings that read recordings named on the command line, from start to end, as one input.

    Args:
        paths: files, `-` for standard input, or URLs; all of one kind, at least one.
        configured: section `source` of the configuration, for what a URL does not say.

    Raises:
        SourceError: if a name is of no known kind, or the kinds are mixed.
    """
    if not paths:
        message = "no recording: name at least one file"
        raise SourceError(message)
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(_kind(path), path)
    if len(found) > 1:
        named = " and ".join(f"{path} ({kind})" for kind, path in found.items())
        message = f"recordings of different kinds cannot be one input: {named}"
        raise SourceError(message)
    return kinds()[next(iter(found))].recording(paths, configured)


def _kind(path: str) -> str:
    """Return the kind of a recording by the scheme of its URL, or by the end of its name."""
    scheme, separator, _ = path.partition("://")
    known: list[str] = []
    for kind, module in _modules().items():
        schemes: tuple[str, ...] = getattr(module, "schemes", ())
        suffixes: tuple[str, ...] = getattr(module, "suffixes", ())
        # a dash alone is standard input, not the end of a name
        if scheme in schemes if separator else path in suffixes or bare(path).lower().endswith(_ends(suffixes)):
            return kind
        known += [f"{name}://" for name in schemes] if separator else _ends(suffixes)
    what = "URL" if separator else "file"
    message = f"{path}: no known kind of recording: a {what} is known by one of {', '.join(known) or 'none'}"
    raise SourceError(message + ("" if separator else ", each also with .gz or .zst"))


def _ends(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(suffix for suffix in suffixes if suffix.startswith("."))
