"""An issuer of OAuth tokens on this machine: its keys for the brokers, and an endpoint for client credentials."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote_plus

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE = "kafka"


class Issuer:
    """Signs tokens (JWT, RS256), and serves `/jwks` and `/token`.

    Attributes:
        clients: id → secret of those who get a token at `/token`; the id is its subject.
        answers: (status, body) each, given by `/token` first; a status of 3xx leads to `/elsewhere`.
        seconds: lifetime of the tokens of `/token`.
        given: tokens that `/token` gave away.
        strayed: Authorization headers that came to another path.
    """

    def __init__(self) -> None:
        """Make a key and listen on a free port."""
        self.clients: dict[str, str] = {}
        self.answers: deque[tuple[int, bytes]] = deque()
        self.seconds = 300
        self.given: list[str] = []
        self.strayed: list[str | None] = []
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/jwks":
                    issuer.strayed.append(self.headers["Authorization"])
                self._say(200, json.dumps(issuer.keys()).encode())

            def do_POST(self) -> None:
                body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._say(*issuer.answer(self.headers["Authorization"] or "", body))

            def _say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Self:
        """Serve for a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self._server.shutdown()
        self._server.server_close()

    def keys(self) -> dict[str, Any]:
        """Return the public keys, as JWKS."""
        numbers = self._key.public_key().public_numbers()
        number, exponent = (_base64(each.to_bytes(-(-each.bit_length() // 8))) for each in (numbers.n, numbers.e))
        return {"keys": [{"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": number, "e": exponent}]}

    def token(self, subject: str, seconds: int = 300) -> str:
        """Return a token for `subject` that is valid for so long."""
        now = int(time.time())
        claims = {"sub": subject, "aud": AUDIENCE, "iss": self.url, "iat": now, "exp": now + seconds, "scope": "x"}
        parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "1", "typ": "JWT"}, claims)]
        signature = self._key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
        return ".".join([*parts, _base64(signature)])

    def answer(self, authorization: str, body: dict[str, list[str]]) -> tuple[int, bytes]:
        """Return status and body for a request of a token."""
        if self.answers:
            return self.answers.popleft()
        pair = base64.b64decode(authorization.removeprefix("Basic ") or b"").decode().partition(":")
        client, _, secret = map(unquote_plus, pair)  # RFC 6749, 2.3.1
        if body.get("grant_type") != ["client_credentials"]:
            return 400, b'{"error": "unsupported_grant_type"}'
        if self.clients.get(client) != secret:
            return 401, b'{"error": "invalid_client", "error_description": "no such client, or another secret"}'
        self.given.append(self.token(client, self.seconds))
        answer = {"access_token": self.given[-1], "token_type": "Bearer", "expires_in": self.seconds}
        return 200, json.dumps(answer).encode()


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
