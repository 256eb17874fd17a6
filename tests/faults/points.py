"""Places in the daemon at which something can be made to happen, by a plan that the test leaves in its folder.

A plan (`plan.json`) is a list of steps; each waits for its place, to be passed so many times, and then does something.
The hooks sit on the Kafka client and on the daemon's outermost calls; without a plan they do nothing.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import TransactionManager

from models.serving import Model
from monitor.kafka.transactions import Transactions
from monitor.state import Restore
from tests.faults import points_librdkafka

PLACES = (
    "in_init",
    "after_poll",
    "in_score",
    "after_begin",
    "after_send",
    "after_flush",
    "after_offsets",
    "in_commit",
    "after_commit",
    "in_restore",
    "in_rewind",
)
"""Where a crash can come, in the order in which a daemon that starts passes them (the last two at a restart)."""

PLAN, PASSED = "plan.json", "passed.txt"
GIVEN_UP = "given up unsent"


class Step(msgspec.Struct):
    """One thing that is to happen.

    Attributes:
        place: where; `answer` is what a broker says to a batch of messages, `drain` when batches are about to be sent.
        passes: at which pass of the place.
        what: `kill` (SIGKILL), `stop` (SIGSTOP), `sleep`, `error` (the client raises it, or the broker says it),
            `clock` (the wall clock is set to something else), `expire` (at `drain`: the client gives the batches up).
        argument: seconds of `sleep` or `clock`, or the error's class.
        times: how often, for `error` and `sleep`.
        late: up to so many seconds later, while the daemon goes on (`kill`).
    """

    place: str
    passes: int = 1
    what: str = "kill"
    argument: str = ""
    times: int = 1
    late: float = 0.0


class Plan:
    """The steps that are left, read again whenever the file has changed."""

    def __init__(self, folder: Path) -> None:
        """Look for `plan.json` in this folder."""
        self._path, self._passed = folder / PLAN, folder / PASSED
        self._stamp = 0
        self._steps: list[Step] = []
        self._count = 0
        self._lock = threading.RLock()

    def passing(self, place: str) -> Step | None:
        """Note that a place is passed; return the step that is due, if one is."""
        with self._lock:
            self._refresh()
            if not self._steps or self._steps[0].place != place:
                return None
            step = self._steps[0]
            self._count += 1
            if self._count < step.passes:
                return None
            if self._count >= step.passes + step.times - 1:
                self._next()
            with self._passed.open("a") as file:
                file.write(f"{place} {step.what}\n")
            return step

    def _next(self) -> None:
        self._steps, self._count = self._steps[1:], 0
        if self._steps:
            write(self._path, self._steps)
            self._stamp = self._path.stat().st_mtime_ns
        else:
            self._path.unlink(missing_ok=True)

    def _refresh(self) -> None:
        try:
            stamp = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            self._steps = []
            return
        if stamp != self._stamp:
            self._steps, self._count = msgspec.json.decode(self._path.read_bytes(), type=list[Step]), 0
            self._stamp = stamp


def write(path: Path, steps: list[Step]) -> None:
    """Leave a plan, at once as a whole."""
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(steps))
    part.rename(path)


def passed(folder: Path) -> list[str]:
    """Return what happened in a daemon's folder: `place what`, in order."""
    path = folder / PASSED
    return path.read_text().splitlines() if path.exists() else []


def _do(step: Step) -> None:
    """Let a step happen."""
    if step.what == "kill":
        if not step.late:
            os.kill(os.getpid(), signal.SIGKILL)
        wait = random.SystemRandom().uniform(0, step.late)
        threading.Timer(wait, os.kill, (os.getpid(), signal.SIGKILL)).start()
    elif step.what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif step.what == "sleep":
        time.sleep(float(step.argument))
    elif step.what == "error":
        message = "made up by the test"
        raise getattr(kafka_errors, step.argument)(message)
    elif step.what == "clock":
        _set_clock(float(step.argument))


def _set_clock(seconds: float) -> None:
    """Let this process believe that it is so much later than it is."""
    real = time.time

    def shifted() -> float:
        return real() + seconds

    time.time = shifted


def install(folder: Path) -> None:
    """Put the hooks in."""
    plan = Plan(folder)

    def before(place: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            step = plan.passing(place)
            if step is not None:
                _do(step)
            return call(*args, **kwargs)

        return hooked

    def after(place: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            found = call(*args, **kwargs)
            step = plan.passing(place)
            if step is not None:
                _do(step)
            return found

        return hooked

    KafkaProducer.init_transactions = before("in_init", KafkaProducer.init_transactions)
    KafkaConsumer.poll = after("after_poll", KafkaConsumer.poll)
    KafkaProducer.begin_transaction = after("after_begin", KafkaProducer.begin_transaction)
    KafkaProducer.send = after("after_send", KafkaProducer.send)
    KafkaProducer.flush = after("after_flush", KafkaProducer.flush)
    # The commit begins when the offsets are there, and is on its way when the call returns.
    committing = before("after_offsets", TransactionManager.begin_commit)
    TransactionManager.begin_commit = after("in_commit", committing)
    own: tuple[tuple[type, str, str], ...] = (
        (Model, "score", "in_score"),
        (Transactions, "commit", "after_commit"),
        (Restore, "apply", "in_restore"),
        (Restore, "rewind", "in_rewind"),
    )
    for owner, name, place in own:
        setattr(owner, name, after(place, getattr(owner, name)))
    _install_answers(plan)
    points_librdkafka.install(before, after, plan.passing)


def _install_answers(plan: Plan) -> None:
    """Let the brokers' answers to messages be errors, and messages be given up before they are sent."""
    complete = Sender._complete_batch

    def answered(self: Sender, batch: Any, response: Any) -> None:
        step = plan.passing("answer")
        if step is not None:
            response.error_code = getattr(kafka_errors, step.argument).errno
        complete(self, batch, response)

    Sender._complete_batch = answered
    send = Sender._send_producer_data

    def sent(self: Sender, *arguments: Any, **more: Any) -> Any:
        if self._accumulator.has_undrained() and plan.passing("drain") is not None:
            self._accumulator.abort_undrained_batches(kafka_errors.KafkaTimeoutError(GIVEN_UP))
        return send(self, *arguments, **more)

    Sender._send_producer_data = sent


def plan_of(*steps: Step) -> str:
    """Return steps as text, for messages."""
    return json.dumps([msgspec.to_builtins(step) for step in steps])
