"""What can go wrong with Kafka, as one readable line and one exit status each."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from kafka import errors

from monitor.kafka.refusal import refusal

EXIT_RETRY, EXIT_FENCED, EXIT_OPERATOR = 1, 75, 78
_PAST_IT = "move the group's offset past it, and see who may write to the topic"


class KafkaProblem(Exception):  # noqa: N818 - it says what is wrong with a cluster, not with this program
    """Kafka cannot be used as configured.

    Attributes:
        status: exit status: 1 a retry may help, 75 fenced by another instance, 78 an operator must act.
        batch: first and last offset of the batch that cannot be read, if that is what is wrong.
    """

    def __init__(self, message: str, status: int = EXIT_RETRY, batch: tuple[int, int] | None = None) -> None:
        """Keep the message, the exit status and the batch."""
        super().__init__(message)
        self.status = status
        self.batch = batch


class Fenced(KafkaProblem):
    """Another process uses this identity now; this one must end without touching anything more."""

    def __init__(self, identity: str) -> None:
        """Name the identity."""
        super().__init__(
            f"fenced: another instance uses the identity {identity!r}; members on one host need their own"
            " source.group_instance_id and source.transactional_id",
            EXIT_FENCED,
        )


class _BatchError(errors.KafkaError):  # type: ignore[misc]  # the client has no types
    """A batch on the broker that cannot be had; where it lies is known later than what is wrong with it."""

    def __init__(self, wrong: str) -> None:
        super().__init__(wrong)
        self._wrong, self._advice, self._where = wrong, _PAST_IT, "a batch"
        self.offsets: tuple[int, int] | None = None

    def place(self, topic: str, partition: int, first: int, last: int) -> None:
        """Say where it lies: its first offset and its last one."""
        self.offsets = (first, last)
        self._where = f"the batch at offset {first} of {topic}-{partition}"
        command = f"tidegauge skip CONFIG --topic {topic} --partition {partition} --offset {last}"
        self._advice = f"go past it with `{command}`, and see who may write to the topic"

    def __str__(self) -> str:
        """Return all of it in one line."""
        return f"{self._where} {self._wrong}: {self._advice}"


class BatchTooLargeError(_BatchError):
    """A batch that would unpack to more than is allowed."""

    def __init__(self, limit: int) -> None:
        """Keep the limit, in bytes."""
        super().__init__(f"unpacks to more than {limit >> 20} MiB")


class UnreadableBatchError(_BatchError):
    """A batch that a codec cannot unpack, or whose bytes are not those that were written."""

    def __init__(self, error: Exception) -> None:
        """Keep what the codec says."""
        what = "is damaged" if isinstance(error, errors.CorruptRecordError) else "cannot be unpacked"
        super().__init__(f"{what} ({_text(error)})")


FENCING = (errors.ProducerFencedError, errors.FencedInstanceIdError, errors.InvalidProducerEpochError)
_REFUSED = (
    errors.InvalidSessionTimeoutError,
    errors.InconsistentGroupProtocolError,
    errors.InvalidGroupIdError,
    errors.UnsupportedVersionError,
    errors.KafkaConfigurationError,
)
_SASL = ": check source.sasl_mechanism, source.sasl_plain_username and its password file, or source.sasl_oauthbearer_*"
# What no retry mends, and what to do about it.
_FINAL: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((errors.TopicAuthorizationFailedError,), ": give this user the ACL (deploy/README.md, Kafka, lists all of them)"),
    ((errors.GroupAuthorizationFailedError,), ": give this user the ACL READ on the group of source.group_id"),
    (
        (errors.TransactionalIdAuthorizationFailedError, errors.ClusterAuthorizationFailedError),
        ": give this user the ACL WRITE on source.transactional_id",
    ),
    ((errors.SaslAuthenticationFailedError,), _SASL),
    ((errors.OffsetOutOfRangeError, errors.LogTruncationError), ": records that were not processed are gone"),
    ((errors.CorruptRecordError, errors.UnsupportedCodecError), ": a batch on the broker cannot be read"),
    ((errors.MessageSizeTooLargeError,), ": raise max.message.bytes of the topics of alerts, dead letters and state"),
    (_REFUSED, ""),
    ((_BatchError,), ""),
)


def fenced(error: BaseException) -> bool:
    """Whether an exception says that another process has this identity; some only repeat it in their text."""
    return isinstance(error, FENCING) or re.search(r"ProducerFenced|FencedInstanceId", str(error)) is not None


def denied(error: BaseException) -> BaseException:
    """Return the brokers' refusal that an exception of the client holds or only repeats; itself if there is none.

    A transaction's later requests fail with a plain error that has the first one's beside it, or in its text.
    """
    held = [each for each in error.args if isinstance(each, errors.KafkaError)]
    if held:
        return denied(held[0])
    found = re.search(r"(?:Topic|Group|TransactionalId|Cluster)AuthorizationFailedError", str(error))
    if found is None or type(error) is not errors.KafkaError:
        return error
    kind: type[BaseException] = getattr(errors, found[0])
    return kind(str(error))


# What codecs raise, beside the client's own errors, for a batch that they cannot unpack. After one of these a further
# poll would spin for ever.
UNREADABLE = (OSError, ValueError, RuntimeError, ArithmeticError, LookupError, MemoryError, zlib.error)


def unreadable(error: BaseException, what: str) -> KafkaProblem:
    """Return a problem for a batch that cannot be unpacked."""
    return KafkaProblem(f"{what}: a batch on the broker cannot be read ({_text(error)})", EXIT_OPERATOR)


def problem(error: BaseException, what: str) -> KafkaProblem:
    """Return a problem for an exception of the client, said as `what` failed and why."""
    if isinstance(error, KafkaProblem):
        return error
    if fenced(error):
        return Fenced(what)
    for kinds, advice in _FINAL:
        if isinstance(error, kinds):
            return KafkaProblem(f"{what}: {_text(error)}{advice}", EXIT_OPERATOR, getattr(error, "offsets", None))
    return KafkaProblem(f"{what}: {_text(error)}")


def _text(error: BaseException) -> str:
    """Return an exception's class and message as one short line."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    name = type(error).__name__.removesuffix("Error")
    if isinstance(error, _BatchError):
        return text
    return f"{name}: {text[:300]}" if text and not text.startswith(name) else text[:300] or name


class _Tokens(Protocol):
    """Who gives the client tokens."""

    problem: KafkaProblem | None


class _Listening(logging.Handler):
    """Keeps what the client logs while it fails to connect: its exceptions say 'timeout' for a wrong password."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.reasons.append(record.getMessage())


@contextmanager
def connecting(bootstrap: str, mechanism: str | None = None, tokens: _Tokens | None = None) -> Iterator[None]:
    """Turn what is raised while the client connects into a `KafkaProblem` that says why.

    Args:
        bootstrap: addresses, for the message.
        mechanism: how the client authenticates, None if it does not.
        tokens: who gives it tokens, if it takes any.
    """
    listening = _Listening()
    logger = logging.getLogger("kafka")
    logger.addHandler(listening)
    try:
        yield
    except KafkaProblem:
        raise
    except (errors.KafkaError, ValueError, OSError) as error:
        if tokens is not None and tokens.problem is not None:
            raise tokens.problem from None
        refused = refusal(f"{' '.join(listening.reasons)} {error}", bootstrap, mechanism)
        if refused:
            raise KafkaProblem(refused, EXIT_OPERATOR) from None
        if isinstance(error, errors.KafkaTimeoutError | errors.KafkaConnectionError):
            message = f"no broker of source.bootstrap_servers {bootstrap} can be reached"
            raise KafkaProblem(message) from None
        raise problem(error, f"cannot connect to {bootstrap}") from None
    finally:
        logger.removeHandler(listening)
