"""Tokens from a file and from an issuer: got in time, kept, renewed, and never shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.errors import KafkaConnectionError

from monitor.kafka.errors import KafkaProblem
from monitor.kafka.tokens import Client, TokenEndpoint, TokenFile, Tokens
from tests.kafka.issuer import Issuer

SECRET = "sword:fish+of%20the=issuer"  # noqa: S105 - what must never be shown


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer that knows the client `gauge`."""
    with Issuer() as found:
        found.clients["gauge"] = SECRET
        yield found


def endpoint(issuer: Issuer, folder: Path, clock: list[float], client_id: str = "gauge") -> TokenEndpoint:
    """Return an endpoint of the issuer, by a clock that the test moves."""
    (folder / "secret").write_text(f"{SECRET}\n")
    client = Client(f"{issuer.url}/token", client_id, folder / "secret", "x", None)
    return TokenEndpoint(client, lambda: clock[0])


def test_a_token_is_kept_until_it_is_nearly_over(issuer: Issuer, tmp_path: Path) -> None:
    """If it failed, each connection would cost the issuer a token, or be refused with one that has ended."""
    clock = [0.0]
    ask = endpoint(issuer, tmp_path, clock)
    first = ask()
    clock[0] = 0.7 * issuer.seconds
    assert ask() == first == issuer.given[0]
    clock[0] = 0.9 * issuer.seconds
    assert ask()
    assert len(issuer.given) == 2


def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    """If it failed, a daemon would come back after an hour with a token that has ended."""
    file = tmp_path / "token"
    tokens = Tokens(TokenFile("source.sasl_oauthbearer_token_file", file))
    file.write_text("one\n")
    assert tokens.token() == "one"
    file.write_text("two")
    assert tokens.token() == "two"


@pytest.mark.parametrize("content", [b"", b"\n", b"a b", b"a\x01auth=Bearer b", b"a\nb", b"\xff\xfe", b"a" * 100_000])
def test_a_file_without_a_token(tmp_path: Path, content: bytes) -> None:
    """If it failed, a wrong file would go to the brokers, or a control character would forge a field of the request."""
    file = tmp_path / "token"
    file.write_bytes(content)
    tokens = Tokens(TokenFile("source.sasl_oauthbearer_token_file", file))
    with pytest.raises(KafkaProblem, match=r"^source\.sasl_oauthbearer_token_file: \S+ ") as caught:
        tokens.first()
    assert caught.value is tokens.problem
    with pytest.raises(KafkaConnectionError, match=r"^\S*KafkaConnectionError: source\.sasl_oauthbearer_token_file"):
        tokens.token()  # of a client that runs: the next try may find it mended
    assert caught.value.status == 78
    assert "\n" not in str(caught.value)
    assert "Bearer b" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ((401, b'{"error": "invalid_client", "error_description": "SECRET"}'), 78, "answered 401 (invalid_client)"),
        ((302, b""), 1, "answered 302"),
        ((503, b"<html>"), 1, "answered 503"),
        ((200, b"<html>"), 78, "answered without an access_token"),
        ((200, b"[]"), 78, "answered without an access_token"),
        ((200, b"[" * 60_000), 78, "answered without an access_token"),
        ((200, b'{"access_token": 3}'), 78, "does not give a bearer token"),
        ((200, b'{"access_token": "a\\u0001b"}'), 78, "does not give a bearer token"),
        ((200, b'{"access_token": "a", "expires_in": "soon"}'), 78, "answered without an access_token"),
        ((200, b'{"access_token": "' + b"a" * 1_000_000 + b'"}'), 78, "answered without an access_token"),
    ],
)
def test_an_issuer_that_gives_none(
    issuer: Issuer, tmp_path: Path, answer: tuple[int, bytes], status: int, said: str
) -> None:
    """If it failed, an issuer's fault would be told as Kafka's, in a traceback, or with a secret in it."""
    issuer.answers.append((answer[0], answer[1].replace(b"SECRET", SECRET.encode())))
    with pytest.raises(KafkaProblem) as caught:
        endpoint(issuer, tmp_path, [0.0])()
    assert said in str(caught.value)
    assert "source.sasl_oauthbearer_token_endpoint_url" in str(caught.value)
    assert (caught.value.status, str(caught.value).count("\n")) == (status, 0)
    assert SECRET not in str(caught.value)
    assert issuer.strayed == []  # no redirect was followed: the secret went nowhere else


def test_a_wrong_secret(issuer: Issuer, tmp_path: Path) -> None:
    """If it failed, a wrong secret would be retried for ever."""
    with pytest.raises(KafkaProblem, match=r"client_id.*secret file") as caught:
        endpoint(issuer, tmp_path, [0.0], client_id="other")()
    assert caught.value.status == 78


def test_an_issuer_that_is_away(issuer: Issuer, tmp_path: Path) -> None:
    """If it failed, a restart of the issuer would end the daemon for good: status 1 says that a retry may help."""
    ask = endpoint(issuer, tmp_path, [0.0])
    issuer.__exit__()
    with pytest.raises(KafkaProblem, match="does not answer: Connection refused") as caught:
        ask()
    assert caught.value.status == 1


def test_a_token_without_an_end_is_kept_shortly(issuer: Issuer, tmp_path: Path) -> None:
    """If it failed, an issuer that does not say how long a token lives would be asked at each connection, or never."""
    clock = [0.0]
    issuer.answers.extend([(200, json.dumps({"access_token": text}).encode()) for text in ("a", "b")])
    ask = endpoint(issuer, tmp_path, clock)
    assert (ask(), ask()) == ("a", "a")
    clock[0] = 60.0
    assert ask() == "b"
