"""A disk on which a process can die: at any step that changes it, before the step, in its middle, or after it.

What a step is: a write, a file brought to disk, cut off, renamed or removed. A process that has died does nothing more,
whatever its `finally` blocks try. With `power` the machine dies with it: what was not brought to disk is gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

How = Literal["before", "middle", "after"]
STEPS = ("write", "fsync", "ftruncate", "replace", "unlink")


class Crash(BaseException):
    """The process is dead."""


class Disk:
    """Stands before the system calls of one process.

    Attributes:
        steps: names of the steps that were done.
    """

    def __init__(self, at: int | None, how: How = "before", *, power: bool = False) -> None:
        """Die at the step of this number, from 0; None = live."""
        self.steps: list[str] = []
        self._at, self._how, self._power = at, how, power
        self._dead = False
        self._durable: dict[int, int] = {}  # inode → length on disk, of files that were written to
        self._paths: dict[int, Path] = {}
        self._real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in STEPS}

    def mount(self, patch: pytest.MonkeyPatch) -> None:
        """Put it before the system calls."""
        for name in STEPS:
            patch.setattr(os, name, self._step(name))

    def fail(self) -> None:
        """Lose what was not brought to disk, if the machine died."""
        if self._power and self._dead:
            for inode, path in self._paths.items():
                if path.exists() and path.stat().st_ino == inode and path.stat().st_size > self._durable[inode]:
                    with path.open("r+b") as file:
                        file.truncate(self._durable[inode])

    def _step(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def step(*arguments: Any, **more: Any) -> Any:
            if self._dead:
                raise Crash
            self._note(name, arguments[0])
            dies = len(self.steps) == self._at
            self.steps.append(name)
            if dies and self._how == "middle" and name == "write":
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            if dies and self._how != "after":
                self._dead = True
                raise Crash
            result = real(*arguments, **more)
            self._settle(name, arguments[0])
            if dies:
                self._dead = True
                raise Crash
            return result

        return step

    def _note(self, name: str, file: Any) -> None:
        """Remember how long a file was before it was first written to."""
        if name == "write":
            found = os.fstat(file)
            self._durable.setdefault(found.st_ino, found.st_size)
            self._paths[found.st_ino] = Path(f"/proc/self/fd/{file}").readlink()
        if name == "replace":
            inode = Path(file).stat().st_ino
            self._paths.pop(inode, None)  # its content was brought to disk before, or the test of that has failed
            assert self._durable[inode] == Path(file).stat().st_size, "renamed before it was on disk"

    def _settle(self, name: str, file: Any) -> None:
        if name == "fsync":
            found = os.fstat(file)
            self._durable[found.st_ino] = found.st_size
        if name == "ftruncate":
            found = os.fstat(file)
            self._durable[found.st_ino] = min(found.st_size, self._durable.get(found.st_ino, found.st_size))
