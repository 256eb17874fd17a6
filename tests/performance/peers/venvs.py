"""The peers' venvs: made when they are needed, each with the versions of its file of pins, kept below `build/peers`."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime

ROOT = Path(__file__).parents[3]
CACHE = ROOT / "build" / "peers"
_DONE = "installed"
_LARGEST_WORD = 300


class PeerError(Exception):
    """A peer cannot be installed, or has not done the work; the message is one line that says which and why."""


def pins(program: str) -> list[str]:
    """Return what a program's venv consists of; ONNX Runtime and NumPy are the versions that run here."""
    kept = Path(__file__).with_name(f"{program}.txt").read_text(encoding="utf-8").split()
    return [*kept, f"numpy=={np.__version__}", f"onnxruntime=={onnxruntime.__version__}"]


def python(program: str) -> Path:
    """Return the interpreter of a program's venv, which is made unless it is there.

    Raises:
        PeerError: if it cannot be made.
    """
    wanted = pins(program)
    version = platform.python_version()
    folder = CACHE / f"{program}-{hashlib.sha256(' '.join([version, *wanted]).encode()).hexdigest()[:8]}"
    interpreter = folder / "bin" / "python"
    if (folder / _DONE).exists():
        return interpreter
    shutil.rmtree(folder, ignore_errors=True)
    sys.stderr.write(f"{program}: installing into {folder}\n")
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            reason = next((line for line in said if "ERROR" in line), said[-1] if said else "it said nothing")
            message = f"{program} cannot be installed with Python {version}: {reason[:_LARGEST_WORD]}"
            raise PeerError(message)
    (folder / _DONE).touch()
    return interpreter
