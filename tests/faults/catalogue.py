"""The faults F1 to F20 of the specification, by name.

A fault is done to a world while its feed runs; afterwards everything is put right again, and the world is checked. What
happens to whom and when is drawn from the world's seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.world import World


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: F1 to F20.
        title: what is done.
        run: does it.
        weight: how often it is drawn in a random run.
        after: puts right what the fault may leave behind.
    """

    name: str
    title: str
    run: Callable[[World], list[str]]
    weight: float = 1.0


FAULTS: dict[str, Fault] = {}


def fault(
    name: str, title: str, weight: float = 1.0
) -> Callable[[Callable[[World], list[str]]], Callable[[World], list[str]]]:
    """Enter a function in the catalogue; it returns what else was found to be wrong."""

    def enter(run: Callable[[World], list[str]]) -> Callable[[World], list[str]]:
        FAULTS[name] = Fault(name, title, run, weight)
        return run

    return enter
