"""Tokens for SASL/OAUTHBEARER: from a file that somebody renews, or from an issuer by client credentials (RFC 6749).

The client asks for a token at each connection, and again before the broker's session ends, on the thread that also
sends its heartbeats: a token is fetched within seconds or not at all, and kept for four fifths of its life.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from kafka.errors import KafkaConnectionError
from kafka.net.sasl.oauth import AbstractTokenProvider

from monitor.kafka.errors import EXIT_OPERATOR, EXIT_RETRY, KafkaProblem
from monitor.kafka.secret import content, secret

_SECONDS = 5.0
_LARGEST = 65_536  # bytes of an issuer's answer
_KEPT = 0.8
_SHORTEST = 30.0  # seconds for which a token is kept of which the issuer does not say how long it lives
_REFUSED = frozenset({400, 401, 403, 404, 405})
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750; a control character would end the field of the request


class Tokens(AbstractTokenProvider):  # type: ignore[misc]  # the client has no types
    """Gives the client tokens.

    Attributes:
        problem: why the last one could not be had, None if it could: the client tells of it as of a lost connection.
    """

    def __init__(self, fetch: Callable[[], str]) -> None:
        """Take what gets a token, or raises a `KafkaProblem`."""
        super().__init__()
        self._fetch = fetch
        self.problem: KafkaProblem | None = None

    def first(self) -> str:
        """Return a token.

        Raises:
            KafkaProblem: if none can be had; the message names the setting.
        """
        self.problem = None
        try:
            return self._fetch()
        except KafkaProblem as error:
            self.problem = error
            raise

    @property
    def seconds(self) -> float:
        """For how long from now the last token is worth keeping; a file may hold another one at any time."""
        return float(getattr(self._fetch, "seconds", _SHORTEST))

    def token(self) -> str:
        """Return a token.

        Raises:
            KafkaConnectionError: if none can be had: for a client that runs, an issuer that is away for a while is as a
                broker that is.
        """
        try:
            return self.first()
        except KafkaProblem as error:
            raise KafkaConnectionError(str(error)) from None


class TokenFile:
    """A file with a token, read each time: Kubernetes and Vault agents renew such files."""

    def __init__(self, setting: str, path: Path) -> None:
        """Keep where it is."""
        self._setting, self._path = setting, path

    def __call__(self) -> str:
        """Return the token; see `Tokens`."""
        return _sound(secret(self._setting, self._path).strip(), f"{self._setting}: {self._path}")


@dataclass(frozen=True, slots=True)
class Client:
    """What an issuer must know of a client.

    Attributes:
        url: endpoint of the issuer.
        client_id: name of the client.
        secret_file: file with its secret.
        scope: what the token is for; None = what the issuer thinks.
        cafile: authority of the issuer's certificate; None = the system's.
    """

    url: str
    client_id: str
    secret_file: Path
    scope: str | None
    cafile: Path | None


class TokenEndpoint:
    """An issuer of tokens. No redirect is followed and no proxy used: the secret goes where the setting says."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep what is needed; nothing is asked yet. `clock` is in seconds."""
        self._client, self._clock = client, clock
        self._kept, self._until = "", 0.0
        self._lock = threading.Lock()  # consumer and producer connect on threads of their own

    def __call__(self) -> str:
        """Return the token that is kept, or a new one; see `Tokens`."""
        with self._lock:
            if self._clock() >= self._until:
                self._kept, seconds = self._ask()
                self._until = self._clock() + seconds * _KEPT
            return self._kept

    @property
    def seconds(self) -> float:
        """For how long from now the token is kept."""
        return max(0.0, self._until - self._clock())

    def _ask(self) -> tuple[str, float]:
        """Ask the issuer; return a token and how long it lives, in seconds."""
        client = self._client
        name = "source.sasl_oauthbearer_token_endpoint_url"
        pair = f"{quote_plus(client.client_id)}:{quote_plus(_client_secret(client))}"
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "User-Agent": "tidegauge",
        }
        form = {"grant_type": "client_credentials"} | ({} if client.scope is None else {"scope": client.scope})
        parts = urlsplit(client.url)
        connection = self._connection()
        try:
            connection.request("POST", parts._replace(scheme="", netloc="").geturl() or "/", urlencode(form), headers)
            answer = connection.getresponse()
            body = answer.read(_LARGEST + 1)
        except (OSError, http.client.HTTPException) as error:
            message = f"{name}: {client.url} does not answer: {_reason(error)}"
            raise KafkaProblem(message) from None
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise self._refused(answer.status, body)
        try:
            fields: Any = json.loads(body) if len(body) <= _LARGEST else {}
            token, seconds = fields["access_token"], float(fields.get("expires_in") or _SHORTEST)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            message = f"{name}: {client.url} answered without an access_token: it is no token endpoint of OAuth 2"
            raise KafkaProblem(message, EXIT_OPERATOR) from None
        return _sound(token, f"{name}: {client.url}"), max(0.0, seconds)

    def _connection(self) -> http.client.HTTPConnection:
        """Return a connection that is not opened yet."""
        parts = urlsplit(self._client.url)
        host = parts.hostname or ""
        if parts.scheme != "https":
            return http.client.HTTPConnection(host, parts.port, timeout=_SECONDS)
        setting, cafile = "source.sasl_oauthbearer_cafile", self._client.cafile
        if cafile is not None:
            content(setting, cafile)
        try:
            context = ssl.create_default_context(cafile=None if cafile is None else str(cafile))
        except (OSError, ssl.SSLError):
            message = f"{setting}: {cafile} does not hold a certificate in PEM"
            raise KafkaProblem(message, EXIT_OPERATOR) from None
        return http.client.HTTPSConnection(host, parts.port, timeout=_SECONDS, context=context)

    def _refused(self, status: int, body: bytes) -> KafkaProblem:
        """Return what an answer means that is no token; of its text only OAuth's own word for the error is told."""
        try:
            said = str(json.loads(body[:_LARGEST])["error"])[:60]
        except (ValueError, TypeError, KeyError, RecursionError):
            said = ""
        word = f" ({said})" if re.fullmatch(r"[a-z_]+", said) else ""
        message = (
            f"source.sasl_oauthbearer_token_endpoint_url: {self._client.url} answered {status}{word}: check"
            " source.sasl_oauthbearer_client_id, its secret file and scope"
        )
        return KafkaProblem(message, EXIT_OPERATOR if status in _REFUSED else EXIT_RETRY)


def _client_secret(client: Client) -> str:
    return secret("source.sasl_oauthbearer_client_secret_file", client.secret_file)


def _sound(token: Any, where: str) -> str:  # noqa: ANN401 - whatever an issuer says
    """Return a token that may be sent; what it says is for the brokers to judge."""
    if not isinstance(token, str) or len(token) > _LARGEST or not _TOKEN.fullmatch(token):
        message = f"{where} does not give a bearer token: one line of A-Z a-z 0-9 - . _ ~ + / ="
        raise KafkaProblem(message, EXIT_OPERATOR)
    return token


def _reason(error: Exception) -> str:
    """Return an error of the network in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): set source.sasl_oauthbearer_cafile"
    if isinstance(error, TimeoutError):
        return f"not within {_SECONDS:.0f} s"
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())[:200]
