"""Keras on TensorFlow, loaded when training needs it: quiet, and the same figures every time.

TensorFlow's C++ parts write to the terminal while they are loaded, before any of their settings is read; a progress bar
would be torn. What fails is raised, and so still seen.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from models import extras
from models.cells import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator


def require(purpose: str) -> None:
    """Look whether TensorFlow and Keras are installed, without loading them.

    Args:
        purpose: what needs them, for the message.

    Raises:
        TrainingError: if they are not.
    """
    extras.require(purpose, ("tensorflow", "keras", "tf2onnx"))


def load() -> None:
    """Load TensorFlow and Keras, and have them compute deterministically; again and again costs nothing.

    Raises:
        TrainingError: if they are not installed.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with silence():
            import keras
            import tensorflow as tf
            import tf2onnx  # noqa: F401 - training must not find out at its end that it is missing
    except ImportError as error:
        message = f"training needs what is not installed here ({error.name}): pip install 'tidegauge[train]'"
        raise TrainingError(message) from None
    if keras.config.backend() != "tensorflow":
        message = f"training needs Keras on TensorFlow, but KERAS_BACKEND is {keras.config.backend()}: unset it"
        raise TrainingError(message)
    for name in ("tensorflow", "tf2onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    tf.config.experimental.enable_op_determinism()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide the result."""
    libraries = ("numpy", "keras", "tensorflow", "onnx", "tf2onnx", "onnxruntime")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in libraries}


@contextmanager
def silence() -> Iterator[None]:
    """Throw away what is written to standard error, by whatever language."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
