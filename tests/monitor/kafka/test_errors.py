"""What went wrong with Kafka, as one line and one exit status."""

from __future__ import annotations

import pytest
from kafka import errors

from monitor.kafka.errors import EXIT_OPERATOR, EXIT_RETRY, KafkaProblem, connecting, denied, problem

TOPIC = errors.TopicAuthorizationFailedError({"alerts"})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TOPIC, errors.TopicAuthorizationFailedError),
        (errors.KafkaError("Cannot perform send because at least one previous request failed.", TOPIC), type(TOPIC)),
        (errors.KafkaError(errors.KafkaError("Cannot perform send", TOPIC)), type(TOPIC)),
        (
            errors.KafkaError("Unexpected error in TxnOffsetCommitResponse: [Error 29] TopicAuthorizationFailedError"),
            errors.TopicAuthorizationFailedError,
        ),
        (errors.KafkaError("[Error 30] GroupAuthorizationFailedError"), errors.GroupAuthorizationFailedError),
        (errors.KafkaTimeoutError("TopicAuthorizationFailedError"), errors.KafkaTimeoutError),
        (errors.KafkaError("something else"), errors.KafkaError),
    ],
)
def test_a_refusal_is_found_wherever_it_hides(error: Exception, kind: type[Exception]) -> None:
    """If it failed, a right that was taken away would be retried for ten minutes, as if brokers were away."""
    found = denied(error)
    assert type(found) is kind
    assert problem(found, "x").status == (EXIT_OPERATOR if "Authorization" in kind.__name__ else EXIT_RETRY)


@pytest.mark.parametrize("name", ["Topic", "Group", "TransactionalId", "SaslAuthentication"])
def test_what_an_operator_must_do_is_said(name: str) -> None:
    """If it failed, the line would say what is wrong and not what to do about it."""
    kind = f"{name}AuthorizationFailedError" if name != "SaslAuthentication" else f"{name}FailedError"
    found = problem(getattr(errors, kind)("x"), "cannot consume y")
    assert found.status == EXIT_OPERATOR
    assert "source." in str(found) or "README" in str(found)
    assert "\n" not in str(found)


def test_what_was_said_to_another_client_is_not_heard_twice() -> None:
    """If it failed, each connection would leave a listener behind, and the log would be read by all of them."""
    import logging

    logger = logging.getLogger("kafka")
    before = list(logger.handlers)
    with pytest.raises(KafkaProblem, match=r"no broker of source\.bootstrap_servers x can be reached"), connecting("x"):
        raise errors.KafkaTimeoutError
    assert logger.handlers == before
