"""What every sink is: a place that events go to, at least once, in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from monitor.message import Message


class SinkError(Exception):
    """Events could not be delivered; the message names the sink and what to do, in one line.

    Attributes:
        permanent: True when it is the events that the receiver refuses: they will fail again, however often they are
            delivered, and all others of the same delivery have arrived. False when a retry may help, maybe after
            somebody has put something right.
        fatal: True when no retry of this process can help: it must end.
    """

    def __init__(self, message: str, *, permanent: bool = False, fatal: bool = False) -> None:
        """Say what failed."""
        super().__init__(message)
        self.permanent = permanent
        self.fatal = fatal


class SinkSettings(BaseModel):
    """What the settings of every sink share. `type` is the name of the sink's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str

    @property
    def file(self) -> str | None:
        """The file that events are appended to, and that can be cut off at a length; None = there is none."""
        return None

    def build(self) -> Sink:
        """Open the sink.

        Raises:
            SinkError: if it cannot be opened. That a receiver does not answer yet is no reason.
        """
        raise NotImplementedError


class Sink(ABC):
    """A place that events go to. Used by one thread.

    Attributes:
        repeats: whether its receiver is told again and again what fires; then `recall` says what that is after a
            restart.
        skipped: events that are none for this kind of sink, and were left out.
    """

    repeats: ClassVar[bool] = False
    skipped: int = 0

    @abstractmethod
    def deliver(self, events: Sequence[Message]) -> None:
        """Deliver all events in order; they are safe at the receiver when this returns.

        After an error none, some or all of them have arrived: the caller delivers the same ones again, so that each
        arrives at least once.

        Raises:
            SinkError: if that was not possible.
        """

    def tick(self) -> None:  # noqa: B027 - most sinks have nothing to do between events
        """Do what time asks for, such as re-sending. Called at least once a second by the thread that delivers.

        Never raises and is brief: what fails here is logged and tried again at a later tick.
        """

    def recall(self, events: Sequence[Message]) -> None:  # noqa: B027 - most sinks repeat nothing
        """Repeat these from now on, and nothing else.

        They are the newest events of all alerts that fire, as another process, or this one before the group took and
        gave it partitions, has delivered them: the receiver has had them once. Never raises, and sends nothing yet.
        """

    def close(self) -> None:  # noqa: B027 - not every sink holds something open
        """Let go of what is open. May be called twice."""
