"""The kinds of sink; one file each, found by its name, which is the `type:` in the configuration.

A new kind is a module here with a class `Settings` (see `SinkSettings`). Nothing else has to know of it. Modules
without `Settings` are what the kinds share; one whose name begins with `_` is imported by its kind alone.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from monitor.sinks.base import SinkSettings


@cache
def _found() -> tuple[tuple[str, type[SinkSettings]], ...]:
    """Import the modules of all kinds, in order of their names."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_")
    modules = ((name, import_module(f"{__name__}.{name}")) for name in names)
    return tuple((name, module.Settings) for name, module in modules if hasattr(module, "Settings"))


def kinds() -> dict[str, type[SinkSettings]]:
    """Return the settings class of each kind of sink by its `type`."""
    return dict(_found())
