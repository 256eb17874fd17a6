"""`python -m tests.fuzz --inputs N | --minutes M [--target …] [--seed S]`: hostile input, as much as one likes.

Codec (every layout, JSON and MessagePack), configuration (YAML and `--set`) and the log of state get the same number of
inputs. Each input must be taken or refused by the error that belongs there, within seconds, in a bounded memory: the
process may reserve no more than `--memory` MB beyond what it has at the start. What is found is printed with the seed
that draws it again (`--again TARGET SEED`). Exit status 1 if something was.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import NoReturn, Protocol

from tests.fuzz.changelog import Changelog
from tests.fuzz.codec import Codec
from tests.fuzz.config import Configuration

PATIENCE = 10.0
"""Seconds of the processor's time that an input may take; by the clock, a busy machine would be a finding."""

_SLICE = 500  # inputs of one target, then the next one's turn
_SHOWN = 20  # findings that are printed with all there is to say
TARGETS = {kind.name: kind for kind in (Codec, Configuration, Changelog)}


class Target(Protocol):
    """What takes hostile input."""

    def one(self, random: Random) -> str:
        """Draw an input, and give it to the product; return what became of it. Any exception is a finding."""


class TooSlowError(Exception):
    """An input that took too long."""


@dataclass
class Tally:
    """What became of a target's inputs."""

    target: Target
    inputs: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0
    found: list[str] = field(default_factory=list)


def main() -> int:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Hostile input for what reads bytes.")
    parser.add_argument("--inputs", type=int, help="inputs in all")
    parser.add_argument("--minutes", type=float, help="or: so long")
    parser.add_argument("--target", choices=TARGETS, action="append", help="one of them (default: all)")
    parser.add_argument("--seed", default="1", help="another one draws other inputs (default 1)")
    parser.add_argument("--memory", type=int, default=1_000, help="MB that may be reserved on top (default 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--again", nargs=2, metavar=("TARGET", "SEED"), help="draw one input again, with its traceback")
    options = parser.parse_args()
    if options.again:
        print(TARGETS[options.again[0]]().one(Random(options.again[1])))  # noqa: S311 - to be the same again
        return 0
    if options.inputs is None and options.minutes is None:
        parser.error("how much: --inputs N or --minutes M?")
    tallies = {name: Tally(TARGETS[name]()) for name in options.target or TARGETS}
    signal.signal(signal.SIGPROF, _too_slow)
    limit = _reserved() + options.memory * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    before, began = _peak(), time.monotonic()
    until = None if options.minutes is None else began + options.minutes * 60
    share = None if options.inputs is None else -(-options.inputs // len(tallies))
    try:
        while _go_on(tallies, share, until):
            for name, tally in tallies.items():
                left = _SLICE if share is None else min(_SLICE, share - tally.inputs)
                _some(name, tally, left, options.seed)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    _report(tallies, options, time.monotonic() - began, before)
    return 1 if any(tally.found for tally in tallies.values()) else 0


def _go_on(tallies: dict[str, Tally], share: int | None, until: float | None) -> bool:
    if until is not None and time.monotonic() >= until:
        return False
    return share is None or any(tally.inputs < share for tally in tallies.values())


def _some(name: str, tally: Tally, count: int, seed: str) -> None:
    """Give a target some inputs."""
    for _ in range(count):
        mine = f"{seed}-{tally.inputs}"
        tally.inputs += 1
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, PATIENCE)
        try:
            outcome = tally.target.one(Random(mine))  # noqa: S311 - to be the same again
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever comes is what is looked for; Rust's panics are no `Exception`
            outcome = "found"
            _note(name, tally, mine, error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        took = time.process_time() - begin
        tally.outcomes[outcome] = tally.outcomes.get(outcome, 0) + 1
        tally.seconds += took
        tally.slowest = max(tally.slowest, took)


def _note(name: str, tally: Tally, seed: str, error: BaseException) -> None:
    """Print a finding, and where it came up."""
    place = next(
        (f"{Path(f.filename).name}:{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__))), "?"
    )
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    tally.found.append(f"{place} {text}")
    if len(tally.found) <= _SHOWN:
        print(f"{name} {seed}: {place}: {text}", file=sys.stderr, flush=True)


def _report(tallies: dict[str, Tally], options: argparse.Namespace, seconds: float, before: int) -> None:
    """Print what there is to say."""
    grown = (_peak() - before) / 1_000_000
    if options.json:
        table = {
            name: {"inputs": t.inputs, **t.outcomes, "slowest_ms": round(t.slowest * 1e3, 1), "found": t.found}
            for name, t in tallies.items()
        }
        print(json.dumps({"seed": options.seed, "seconds": round(seconds, 1), "grown_mb": round(grown, 1), **table}))
        return
    print(f"seed {options.seed}, {seconds:.0f} s, Python {platform.python_version()}, {platform.machine()}")
    print(f"{'target':<10} {'inputs':>10} {'taken':>10} {'refused':>10} {'found':>6} {'a second':>9} {'slowest':>9}")
    for name, tally in tallies.items():
        taken, refused = tally.outcomes.get("taken", 0), tally.outcomes.get("refused", 0)
        rate, slowest = tally.inputs / max(tally.seconds, 1e-9), f"{tally.slowest * 1e3:.0f} ms"
        found = len(tally.found)
        print(f"{name:<10} {tally.inputs:>10,} {taken:>10,} {refused:>10,} {found:>6} {rate:>9,.0f} {slowest:>9}")
    total = sum(tally.inputs for tally in tallies.values())
    print(f"{total:,} inputs; memory grew by {grown:.0f} MB, and {options.memory} MB more could not have been reserved")


def _too_slow(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    message = f"not done in {PATIENCE:.0f} s"
    raise TooSlowError(message)


def _peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _reserved() -> int:
    """Return the address space that this process has, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())
