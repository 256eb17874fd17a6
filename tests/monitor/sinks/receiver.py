"""A receiver of alerts on a free port, which answers what it is told to and keeps what it got."""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass
class Request:
    """What came with one POST."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Receiver:
    """Answers 200, or what is in `answers` first: (status, text) each; status 0 = close without an answer."""

    requests: list[Request] = field(default_factory=list)
    answers: deque[tuple[int, str]] = field(default_factory=deque)
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        """Listen."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(Request(self.path, dict(self.headers), json.loads(body)))
                status, text = receiver.answers.popleft() if receiver.answers else (200, "")
                if status:
                    self.send_response(status)
                    self.send_header("Location", "http://127.0.0.1:1/")
                    self.end_headers()
                    self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """All alerts in the order in which they came."""
        return [alert for request in self.requests for alert in request.body]
