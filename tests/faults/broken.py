"""Rules of the daemon, broken one at a time: each must make the checks fail, or they prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A rule that can be broken.

    Attributes:
        says: the rule.
        install: breaks it, in this process.
    """

    says: str
    install: Callable[[], None]


RULES: dict[str, Rule] = {}
