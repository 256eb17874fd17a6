"""The settings of a connection in librdkafka's names, and where what it says goes.

Files of TLS are read when a client is made, not at each connection: a renewed certificate holds from the next start on.
Tokens are asked for by librdkafka on a thread of its own, again and again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from kafka.errors import KafkaConnectionError, KafkaError

from monitor.kafka.confluent.errors import translating
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import connecting
from monitor.kafka.secret import secret
from monitor.kafka.tokens import Tokens

_ASKED_AT = 0.8
"""librdkafka asks for the next token at this share of the life that it is told of."""

_LATER, _SOON = 0.5, 2.0  # seconds

C = TypeVar("C")

_GLANCE = 1.0  # seconds that one try to reach a broker may take


class Log:
    """What librdkafka takes for a logger: its lines, under the name of the other client's.

    Each line goes out as a message of its own, named by what it is about, so that repeated ones can be held back.
    """

    def __init__(self) -> None:
        """Begin."""
        self._logger = logging.getLogger("kafka.librdkafka")

    def log(self, level: int, text: str, *what: Any) -> None:
        """Log a line: librdkafka gives what it is about, the client's name and the line."""
        about, line = (str(what[0]), str(what[-1])) if what else ("", text)
        self._logger.log(level, f"{about}: %s", line)  # noqa: G004 - what it is about makes the message


class Asked(Protocol):
    """A client of confluent-kafka, as far as connecting goes."""

    def poll(self, timeout: float = -1) -> Any:  # noqa: ANN401 - a message, or a count
        """Let callbacks run."""

    def list_topics(self, topic: str = "", timeout: float = -1) -> Any:  # noqa: ANN401 - its metadata
        """Ask a broker."""


def configuration(connection: ConnectionSettings, failed: Callable[[Any], None]) -> dict[str, Any]:
    """Return what every client has; `failed` is told of errors that belong to no call.

    Raises:
        KafkaProblem: if a file that the settings name cannot be used, or there is no token.
    """
    known = connection.arguments()  # reads all files once, and names the one that is wrong
    found: dict[str, Any] = {
        "bootstrap.servers": connection.address,
        "client.id": connection.client_id,
        "security.protocol": connection.security_protocol.lower(),
        "socket.timeout.ms": max(connection.request_timeout_ms, 2_000),
        "socket.connection.setup.timeout.ms": 10_000,
        "socket.keepalive.enable": True,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,  # 10 s would be as long without alerts after every restart of a broker
        "topic.metadata.refresh.interval.ms": 60_000,  # new partitions of a topic are found so soon
        "enable.metrics.push": False,  # nobody asked for it
        "log.connection.close": False,
        "error_cb": failed,
        "logger": Log(),
    }
    if "SSL" in connection.security_protocol:
        found |= _tls(connection)
    if connection.sasl_mechanism is not None:
        found["sasl.mechanism"] = connection.sasl_mechanism
    if connection.sasl_mechanism == "OAUTHBEARER":
        found["oauth_cb"] = _token(known["sasl_oauth_token_provider"])
    elif connection.sasl_mechanism is not None:
        found["sasl.username"] = known["sasl_plain_username"]
        found["sasl.password"] = known["sasl_plain_password"]
    return found


def made(kind: Callable[[dict[str, Any]], C], connection: ConnectionSettings, settings: dict[str, Any]) -> C:
    """Return a client of a kind; it has not connected yet.

    Raises:
        KafkaProblem: if librdkafka does not take the settings.
    """
    with connecting(connection.address, connection.sasl_mechanism), translating():
        return kind(settings)


def reach(client: Asked, connection: ConnectionSettings, reasons: list[str], seconds: float) -> None:
    """Wait until a broker has answered.

    Args:
        client: who asks.
        connection: how, for the message.
        reasons: what `failed` of `configuration` was told so far.
        seconds: how long to try.

    Raises:
        KafkaProblem: if none does; the message says why.
    """
    until = time.monotonic() + seconds
    with connecting(connection.address, connection.sasl_mechanism):
        while True:
            try:
                with translating():
                    client.list_topics("", min(_GLANCE, max(0.1, until - time.monotonic())))
            except KafkaError as error:
                client.poll(0)
                if time.monotonic() >= until:
                    text = " ".join([*reasons[-5:], str(error)])
                    raise KafkaConnectionError(text) from None
            else:
                return


def _tls(connection: ConnectionSettings) -> dict[str, Any]:
    """Return the settings of TLS."""
    found: dict[str, Any] = {
        "ssl.endpoint.identification.algorithm": "https" if connection.ssl_check_hostname else "none"
    }
    names = {
        "ssl.ca.location": connection.ssl_cafile,
        "ssl.certificate.location": connection.ssl_certfile,
        "ssl.key.location": connection.ssl_keyfile or connection.ssl_certfile,
        "ssl.crl.location": connection.ssl_crlfile,
        "ssl.cipher.suites": connection.ssl_ciphers,
    }
    found |= {name: str(value) for name, value in names.items() if value is not None}
    if connection.ssl_password_file is not None:
        found["ssl.key.password"] = secret("source.ssl_password_file", connection.ssl_password_file)
    return found


def _token(tokens: Tokens) -> Callable[[str], tuple[str, float]]:
    """Return what librdkafka asks for tokens: it is told such a life of each that it asks when the next can be had.

    An issuer that is away is asked again soon, and the last token given once more: librdkafka's own pause is 10 s.
    """
    last: list[str] = []

    def token(settings: str) -> tuple[str, float]:
        del settings
        try:
            found, seconds = tokens.token(), tokens.seconds + _LATER
        except KafkaConnectionError:
            if not last:
                raise
            found, seconds = last[0], _SOON
        last[:] = [found]
        return found, time.time() + seconds / _ASKED_AT

    return token
