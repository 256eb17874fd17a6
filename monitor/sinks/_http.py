"""One POST of JSON, with TLS and credentials, for sinks that talk HTTP."""

from __future__ import annotations

import base64
import http.client
import ssl
from pathlib import Path
from urllib.parse import urlsplit

_ANSWER = 300  # characters of a receiver's answer that are worth a log line
_PASSING = frozenset({408, 425, 429})
_ABOUT_THE_BODY = frozenset({400, 413, 422})


class HttpError(Exception):
    """A request failed; the message is one line.

    Attributes:
        passing: True when the same request may succeed in a moment: no answer, or one that asks for patience.
        refused: True when the receiver does not want this body, whoever sends it. A wrong password or address is
            neither: it stays until somebody does something, and the body is not to blame.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        """Say what failed; `status` is None where there was no answer."""
        super().__init__(message)
        self.passing = status is None or status >= 500 or status in _PASSING  # noqa: PLR2004 - the server's own troubles
        self.refused = status in _ABOUT_THE_BODY


class Http:
    """Posts JSON. Follows no redirect and uses no proxy: credentials go where the configuration says, or nowhere."""

    def __init__(
        self, bearer_token_file: Path | None, username: str | None, password_file: Path | None, ca_file: Path | None
    ) -> None:
        """Keep the names of the files; they are read when used, so that a changed secret needs no restart."""
        self._bearer_token_file = bearer_token_file
        self._username = username
        self._password_file = password_file
        self._ca_file = ca_file

    def check(self) -> None:
        """Read all files.

        Raises:
            HttpError: if one cannot be read.
        """
        self._headers()
        self._context()

    def post(self, url: str, body: bytes, timeout: float) -> None:
        """Post `body`; `timeout` in seconds is for each wait on the network.

        Raises:
            HttpError: if it was not answered with 2xx.
        """
        headers = self._headers()
        parts = urlsplit(url)
        host = parts.hostname or ""
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=self._context())
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
        try:
            connection.request("POST", parts.path, body, headers)
            answer = connection.getresponse()
            status, text = answer.status, answer.read(64 * _ANSWER).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            message = f"{url}: {_reason(error)}"
            raise HttpError(message) from error
        finally:
            connection.close()
        if not 200 <= status < 300:  # noqa: PLR2004 - the class of good answers
            line = " ".join(text.split())[:_ANSWER]
            message = f"{url} answered {status}{f': {line}' if line else ''}"
            raise HttpError(message, status)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "tidegauge"}
        if self._bearer_token_file is not None:
            headers["Authorization"] = f"Bearer {_secret(self._bearer_token_file)}"
        elif self._username is not None and self._password_file is not None:
            pair = f"{self._username}:{_secret(self._password_file)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return headers

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        except (OSError, ssl.SSLError) as error:
            message = f"ca_file {self._ca_file}: cannot be used: {_reason(error)}"
            raise HttpError(message) from error


def _secret(path: Path) -> str:
    """Return the one line of a file.

    Raises:
        HttpError: if it cannot be read, or is none; the message does not show it.
    """
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}"
        raise HttpError(message) from error
    if not secret or not secret.isprintable() or not secret.isascii():
        message = f"{path}: must hold one line of ASCII characters"
        raise HttpError(message)
    return secret


def _reason(error: Exception) -> str:
    """Return an error of the network in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): set ca_file"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    strerror = getattr(error, "strerror", None)
    return " ".join(str(strerror or error or type(error).__name__).split())
