"""The package as a whole."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import models

BLOCKED = """
import importlib, pkgutil, sys
for name in ("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib", "onnxruntime", "monitor"):
    sys.modules[name] = None
import models
from models.base import kinds
for module in pkgutil.iter_modules(models.__path__):
    importlib.import_module(f"models.{module.name}")
print(*kinds())
"""


def test_every_module_is_imported_without_tensorflow() -> None:
    """The serving image, which has no TensorFlow, could not start, or not list the kinds."""
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "lstm" in done.stdout.split()


def test_the_map_names_every_module() -> None:
    """A reader who starts at the map would miss a module, or look for one that is gone."""
    named = [line.split()[0] for line in (models.__doc__ or "").splitlines() if "  " in line]
    found = [module.name for module in pkgutil.iter_modules(models.__path__)]
    assert sorted(named) == sorted(found)


def test_public_functions_and_classes_say_what_they_are() -> None:
    """A name without a docstring would leave a contributor to guess shapes and units."""
    for module in pkgutil.iter_modules(models.__path__):
        loaded = importlib.import_module(f"models.{module.name}")
        for name, value in vars(loaded).items():
            if not name.startswith("_") and getattr(value, "__module__", None) == loaded.__name__ and callable(value):
                assert value.__doc__, f"{module.name}.{name}"
