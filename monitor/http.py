"""Health and metrics on one port: `/livez`, `/readyz`, `/metrics`. Nothing can be changed here, no stream is named.

A request is answered and the connection closed. What a client may use up is bounded: the size of a request, the time to
send it, the connections at a time.
"""

from __future__ import annotations

import io
import re
import socket
import socketserver
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Annotated, Any, Final, Self

import structlog
from pydantic import BaseModel, ConfigDict, Field, field_validator

from monitor.metrics import Metrics

_HEAD_LIMIT: Final = 16_384
_READ_SECONDS: Final = 5.0
_CONNECTIONS: Final = 32
_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?")
_TEXT: Final = "text/plain; charset=utf-8"

log = structlog.get_logger()


class HttpError(Exception):
    """The port cannot be opened; the message names the setting and what to do."""


class HttpSettings(BaseModel):
    """Section `http`: where health and metrics are served."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="address or host name to listen on; 0.0.0.0 = on all")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(0, description="port; 0 = any free one, named in the log")

    @field_validator("host")
    @classmethod
    def _an_address(cls, host: str) -> str:
        try:
            ip_address(host)
        except ValueError:
            # What looks like an IPv4 address and is none would be looked up as a name, for seconds and in vain.
            if not _HOST_NAME.fullmatch(host) or host.replace(".", "").isdigit():
                message = "must be an IP address or the name of a host, without port or http://"
                raise ValueError(message) from None
        return host


class Health:
    """What the main loop says of itself; read by other threads.

    Attributes:
        ready: whether the process does its work.
        reason: why it does not, in a few words for an operator.
    """

    def __init__(self, stall_after: float = 60.0) -> None:
        """Begin alive and not ready; without a beat for `stall_after` seconds the process counts as stuck."""
        self.stall_after = stall_after
        self.ready = False
        self.reason = "starting"
        self._beat = time.monotonic()

    def beat(self) -> None:
        """Say that the main loop has turned."""
        self._beat = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self._beat

    def answer(self, path: str) -> tuple[HTTPStatus, str]:
        """Return status and line for `/livez` or `/readyz`."""
        if path == "/livez":
            age = self.age
            if age > self.stall_after:
                return HTTPStatus.SERVICE_UNAVAILABLE, f"the main loop has not turned for {age:.1f} s"
            return HTTPStatus.OK, "ok"
        return (HTTPStatus.OK, "ok") if self.ready else (HTTPStatus.SERVICE_UNAVAILABLE, self.reason)


class HttpServer:
    """Serves from a thread of its own, from construction to `close`."""

    def __init__(self, settings: HttpSettings, metrics: Metrics, health: Health) -> None:
        """Open the port and serve.

        Raises:
            HttpError: if the port cannot be opened.
        """
        try:
            self._server = _Server(settings, metrics, health)
        except OSError as error:
            message = (
                f"http.port: cannot listen on {settings.host}:{settings.port}: {error.strerror or error}: "
                "set another http.port (0 = any free one) or http.host"
            )
            raise HttpError(message) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return str(self._server.server_address[0])

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Close the port; requests in hand are not waited for. May be called twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        """Serve for as long as the block runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class _Server(ThreadingHTTPServer):
    """A thread a connection, at most `_CONNECTIONS` of them."""

    request_queue_size = 128  # the base's 5 make clients wait a second for their next try

    def __init__(self, settings: HttpSettings, metrics: Metrics, health: Health) -> None:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self.metrics = metrics
        self.health = health
        self._open: list[socket.socket] = []  # the oldest first
        self._changing = threading.Lock()
        super().__init__((settings.host, settings.port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server for the host's name, which may take seconds to fail."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base
        """Take a connection; where there are too many, the oldest goes: silent ones must not keep probes out."""
        with self._changing:
            if len(self._open) >= _CONNECTIONS:
                with suppress(OSError):  # it may have ended by itself
                    self._open.pop(0).shutdown(socket.SHUT_RDWR)
            self._open.append(request)
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._forget(request)  # the thread that would do it was not started
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def _forget(self, request: Any) -> None:  # noqa: ANN401 - as in the base
        with self._changing, suppress(ValueError):
            self._open.remove(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base
        """Log what went wrong in an answer; the base would print it."""
        del request
        log.warning("http_request_failed", client=str(client_address[0]), exc_info=sys.exception())


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: _Server
    timeout = _READ_SECONDS
    error_content_type = _TEXT

    def handle(self) -> None:
        """Read the whole head of the request, so that size and time of it are bounded, and answer."""
        try:
            head = self._head()
            self.rfile.close()  # or it would keep the socket open
            self.rfile = io.BytesIO(head)
            if head:
                self.handle_one_request()
        except (ConnectionError, TimeoutError):
            return  # the client went away: nobody is left to tell

    def parse_request(self) -> bool:
        """Allow reading only."""
        if not super().parse_request():
            return False
        self.close_connection = True
        if self.command in {"GET", "HEAD"}:
            return True
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"only GET and HEAD\n")
        return False

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(HTTPStatus.OK, self.server.metrics.content_type, self.server.metrics.render())
        elif path in {"/livez", "/readyz"}:
            status, line = self.server.health.answer(path)
            self._answer(status, _TEXT, f"{line}\n".encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"/livez, /readyz, /metrics\n")

    do_HEAD = do_GET  # noqa: N815 - called by this name

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that cannot be understood, without repeating it."""
        del message, explain
        self._answer(HTTPStatus(code), _TEXT, f"{HTTPStatus(code).phrase}\n".encode())

    def version_string(self) -> str:
        """Name the server, without versions."""
        return "tidegauge"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
        """Say nothing: a probe comes every few seconds."""

    def _head(self) -> bytes:
        """Return the head of the request, at most `_HEAD_LIMIT` bytes, received within `_READ_SECONDS`.

        Raises:
            TimeoutError: if it takes longer.
        """
        deadline = time.monotonic() + _READ_SECONDS
        head = b""
        while b"\r\n\r\n" not in head and b"\n\n" not in head:
            self.connection.settimeout(max(deadline - time.monotonic(), 0.001))
            more = self.connection.recv(4_096)
            head += more
            if not more:
                break
            if len(head) > _HEAD_LIMIT:
                self.requestline, self.command = "", ""
                self._answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TEXT, b"the request is too large\n")
                return b""
        self.connection.settimeout(_READ_SECONDS)
        return head

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.close_connection = True
        self.request_version = "HTTP/1.0"  # the base answers without a head what it did not understand
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
