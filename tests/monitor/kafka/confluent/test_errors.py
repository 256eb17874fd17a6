"""What librdkafka says, in the words of the other client."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError as Said
from confluent_kafka import KafkaException
from kafka import errors

from monitor.kafka.confluent.errors import refused_offsets, translated, translating
from monitor.kafka.errors import fenced, problem

FENCED_TEXT = "Fatal error: Broker: Static consumer fenced by other consumer with same group.instance.id: (after 1ms)"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Said.TOPIC_AUTHORIZATION_FAILED, errors.TopicAuthorizationFailedError),
        (Said.GROUP_AUTHORIZATION_FAILED, errors.GroupAuthorizationFailedError),
        (Said.MSG_SIZE_TOO_LARGE, errors.MessageSizeTooLargeError),
        (Said.OFFSET_OUT_OF_RANGE, errors.OffsetOutOfRangeError),
        (Said._AUTO_OFFSET_RESET, errors.OffsetOutOfRangeError),
        (Said._AUTHENTICATION, errors.SaslAuthenticationFailedError),
        (Said._BAD_MSG, errors.CorruptRecordError),
        (12_345, errors.UnknownError),
    ],
)
def test_an_error_keeps_its_meaning(code: int, kind: type[Exception]) -> None:
    """If it failed, an operator would read another reason, or the process end with another status."""
    found = translated(Said(code, "what it said"))
    assert isinstance(found, kind)
    assert "what it said" in str(problem(found, "cannot consume"))


@pytest.mark.parametrize("code", [Said._TIMED_OUT, Said._TRANSPORT, Said._STATE, Said.UNSTABLE_OFFSET_COMMIT])
def test_what_passes_is_tried_again(code: int) -> None:
    """If it failed, a broker that restarts would end the daemon."""
    assert translated(Said(code)).retriable


def test_a_fatal_error_is_what_it_was_first() -> None:
    """If it failed, a member whose name another process has would end with 1, be restarted, and fence that one."""
    assert fenced(translated(Said(Said._FATAL, FENCED_TEXT)))
    assert fenced(translated(Said(Said._FENCED)))
    assert not fenced(translated(Said(Said._FATAL, "Fatal error: something else")))


def test_offsets_that_a_group_refuses() -> None:
    """If it failed, a member that was thrown out would take it for brokers that do not answer."""
    for code in (Said.ILLEGAL_GENERATION, Said.UNKNOWN_MEMBER_ID, Said.REBALANCE_IN_PROGRESS):
        assert isinstance(refused_offsets(Said(code)), errors.CommitFailedError)
    assert isinstance(refused_offsets(Said(Said._TIMED_OUT)), errors.KafkaTimeoutError)


def test_exceptions_are_translated() -> None:
    """If it failed, an exception that nobody above the port knows would be a traceback."""
    with pytest.raises(errors.KafkaTimeoutError), translating():
        raise KafkaException(Said(Said._TIMED_OUT))
    with pytest.raises(errors.KafkaTimeoutError), translating():
        raise BufferError
