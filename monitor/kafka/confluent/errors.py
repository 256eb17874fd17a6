"""Errors of librdkafka in kafka-python's words, which everything above the port understands.

What brokers answer has the same number in both. What librdkafka says of itself has numbers below 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError as Said
from confluent_kafka import KafkaException
from kafka import errors

_LOCAL: dict[int, type[Exception]] = {
    Said._AUTHENTICATION: errors.SaslAuthenticationFailedError,  # noqa: SLF001 - that is how the client names them
    Said._AUTO_OFFSET_RESET: errors.OffsetOutOfRangeError,  # noqa: SLF001 - as above
    Said._BAD_COMPRESSION: errors.CorruptRecordError,  # noqa: SLF001 - as above
    Said._BAD_MSG: errors.CorruptRecordError,  # noqa: SLF001 - as above
    Said._FENCED: errors.ProducerFencedError,  # noqa: SLF001 - as above
    Said._INVALID_ARG: errors.KafkaConfigurationError,  # noqa: SLF001 - as above
    Said._UNKNOWN_PARTITION: errors.UnknownTopicOrPartitionError,  # noqa: SLF001 - as above
    Said._UNKNOWN_TOPIC: errors.UnknownTopicOrPartitionError,  # noqa: SLF001 - as above
    Said._UNSUPPORTED_FEATURE: errors.UnsupportedVersionError,  # noqa: SLF001 - as above
}
_AWAY = frozenset(
    {
        Said._ALL_BROKERS_DOWN,  # noqa: SLF001 - as above
        Said._RESOLVE,  # noqa: SLF001 - as above
        Said._SSL,  # noqa: SLF001 - as above
        Said._TRANSPORT,  # noqa: SLF001 - as above
        Said._WAIT_COORD,  # noqa: SLF001 - as above
    }
)
_LATE = frozenset(
    {
        Said._ASSIGNMENT_LOST,  # noqa: SLF001 - as above
        Said._DESTROY,  # noqa: SLF001 - as above
        Said._DESTROY_BROKER,  # noqa: SLF001 - as above
        Said._IN_PROGRESS,  # noqa: SLF001 - as above
        Said._MAX_POLL_EXCEEDED,  # noqa: SLF001 - as above
        Said._MSG_TIMED_OUT,  # noqa: SLF001 - as above
        Said._OUTDATED,  # noqa: SLF001 - as above
        Said._PREV_IN_PROGRESS,  # noqa: SLF001 - as above
        Said._STATE,  # noqa: SLF001 - as above
        Said._TIMED_OUT,  # noqa: SLF001 - as above
        Said._TIMED_OUT_QUEUE,  # noqa: SLF001 - as above
    }
)
"""What passes by itself, or shows by the next poll as something that can be dealt with."""

UNREADABLE = frozenset(
    {
        Said._BAD_COMPRESSION,  # noqa: SLF001 - as above
        Said._BAD_MSG,  # noqa: SLF001 - as above
        Said._NOT_IMPLEMENTED,  # noqa: SLF001 - a codec that it does not know
        Said.INVALID_MSG,
        Said.MSG_SIZE_TOO_LARGE,
        Said.UNSUPPORTED_COMPRESSION_TYPE,
    }
)
"""What is said in place of a record: its batch cannot be read."""

OUT_OF_RANGE = frozenset({Said.OFFSET_OUT_OF_RANGE, Said._AUTO_OFFSET_RESET})  # noqa: SLF001 - as above
"""The broker has no such offset; one that has just become a partition's leader may only not know it yet."""

_NOT_A_MEMBER = frozenset({Said.ILLEGAL_GENERATION, Said.UNKNOWN_MEMBER_ID, Said.REBALANCE_IN_PROGRESS})


def translated(said: Said) -> errors.KafkaError:
    """Return an error in kafka-python's words."""
    code, text = said.code(), said.str()
    kind: type[Exception]
    if code == Said._FATAL and re.search(r"group\.instance\.id|[Ff]enced", text):  # noqa: SLF001 - as above
        kind = errors.FencedInstanceIdError  # what it was first is only in the text
    elif code > 0:
        kind = errors.for_code(code)
    elif code in _AWAY:
        kind = errors.KafkaConnectionError
    elif code in _LATE:
        kind = errors.KafkaTimeoutError
    else:
        kind = _LOCAL.get(code, errors.KafkaError)
    return kind(f"{said.name()}: {text}" if kind is errors.KafkaError else text)


def refused_offsets(said: Said) -> errors.KafkaError:
    """Return an error of a transaction: where the group does not know the member any more, that is what is said."""
    if said.code() in _NOT_A_MEMBER:
        return errors.CommitFailedError(f"{said.name()}: {said.str()}")
    return translated(said)


@contextmanager
def translating() -> Iterator[None]:
    """Turn what the client raises into kafka-python's words."""
    try:
        yield
    except KafkaException as error:
        raise translated(error.args[0]) from None
    except BufferError as error:
        raise errors.KafkaTimeoutError(str(error)) from None
