"""What can go wrong with Kafka, as one readable line and one exit status each."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors

EXIT_RETRY, EXIT_FENCED, EXIT_OPERATOR = 1, 75, 78


class KafkaProblem(Exception):  # noqa: N818 - it says what is wrong with a cluster, not with this program
    """Kafka cannot be used as configured.

    Attributes:
        status: exit status: 1 a retry may help, 75 fenced by another instance, 78 an operator must act.
    """

    def __init__(self, message: str, status: int = EXIT_RETRY) -> None:
        """Keep the message and the exit status."""
        super().__init__(message)
        self.status = status


class Fenced(KafkaProblem):
    """Another process uses this identity now; this one must end without touching anything more."""

    def __init__(self, identity: str) -> None:
        """Name the identity."""
        super().__init__(
            f"fenced: another instance uses the identity {identity!r}; members on one host need their own"
            " source.group_instance_id and source.transactional_id",
            EXIT_FENCED,
        )


FENCING = (errors.ProducerFencedError, errors.FencedInstanceIdError, errors.InvalidProducerEpochError)
_REFUSED = (
    errors.InvalidSessionTimeoutError,
    errors.InconsistentGroupProtocolError,
    errors.InvalidGroupIdError,
    errors.UnsupportedVersionError,
    errors.KafkaConfigurationError,
)


def fenced(error: BaseException) -> bool:
    """Whether an exception says that another process has this identity; some only repeat it in their text."""
    return isinstance(error, FENCING) or re.search(r"ProducerFenced|FencedInstanceId", str(error)) is not None


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
    status, advice = EXIT_RETRY, ""
    if fenced(error):
        return Fenced(what)
    if isinstance(error, errors.TopicAuthorizationFailedError | errors.GroupAuthorizationFailedError):
        status, advice = EXIT_OPERATOR, ": the principal lacks an ACL (deploy/README.md lists them)"
    elif isinstance(error, errors.TransactionalIdAuthorizationFailedError | errors.ClusterAuthorizationFailedError):
        status, advice = EXIT_OPERATOR, ": the principal may not use source.transactional_id (ACL WRITE on it)"
    elif isinstance(error, errors.SaslAuthenticationFailedError):
        status, advice = EXIT_OPERATOR, ": check source.sasl_plain_username and its password file"
    elif isinstance(error, errors.OffsetOutOfRangeError | errors.LogTruncationError):
        status, advice = EXIT_OPERATOR, ": records that were not processed are gone from the topic"
    elif isinstance(error, errors.CorruptRecordError | errors.UnsupportedCodecError):
        status, advice = EXIT_OPERATOR, ": a batch on the broker cannot be read"
    elif isinstance(error, errors.MessageSizeTooLargeError):
        status, advice = EXIT_OPERATOR, ": raise max.message.bytes of the topics of alerts and dead letters"
    elif isinstance(error, _REFUSED):
        status = EXIT_OPERATOR
    return KafkaProblem(f"{what}: {_text(error)}{advice}", status)


def _text(error: BaseException) -> str:
    """Return an exception's class and message as one short line."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    name = type(error).__name__.removesuffix("Error")
    return f"{name}: {text[:300]}" if text and not text.startswith(name) else text[:300] or name


class _Listening(logging.Handler):
    """Keeps what the client logs while it fails to connect: its exceptions say 'timeout' for a wrong password."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.reasons.append(record.getMessage())


def _hung_up(said: str) -> bool:
    """Whether brokers took the connection and closed it, each time.

    So a refused password looks: the broker answers and closes at once, and the client throws the answer away when it
    reads the end of the connection together with it.
    """
    lost = re.findall(r"Connection lost: ([^>]*)", said)
    closed = [each for each in lost if "socket disconnected" in each]
    return len(closed) > 1 and not re.search(r"ECONN|EHOST|ENET|unreachable", " ".join(lost))


@contextmanager
def connecting(bootstrap: str, *, sasl: bool = False) -> Iterator[None]:
    """Turn what is raised while the client connects into a `KafkaProblem` that says why.

    Args:
        bootstrap: addresses, for the message.
        sasl: whether the client authenticates by SASL.
    """
    listening = _Listening()
    logger = logging.getLogger("kafka")
    logger.addHandler(listening)
    try:
        yield
    except KafkaProblem:
        raise
    except (errors.KafkaError, ValueError, OSError) as error:
        said = " ".join(listening.reasons)
        refused = re.search(r"SaslAuthenticationFailed|[Aa]uthentication failed|invalid credentials", said + str(error))
        if refused or (sasl and _hung_up(said)):
            message = (
                f"the brokers at {bootstrap} refused the credentials: check source.sasl_mechanism,"
                " source.sasl_plain_username and source.sasl_plain_password_file"
            )
            raise KafkaProblem(message, EXIT_OPERATOR) from None
        if re.search(r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLCertVerification", said + str(error)):
            message = f"the certificate of the brokers at {bootstrap} cannot be verified: check source.ssl_cafile"
            raise KafkaProblem(message, EXIT_OPERATOR) from None
        if isinstance(error, errors.KafkaTimeoutError | errors.KafkaConnectionError):
            message = f"no broker of source.bootstrap_servers {bootstrap} can be reached"
            raise KafkaProblem(message) from None
        raise problem(error, f"cannot connect to {bootstrap}") from None
    finally:
        logger.removeHandler(listening)
