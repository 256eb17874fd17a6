"""How to reach Kafka: what is refused, what files may hold, and that no secret shows."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import KafkaProblem
from monitor.kafka.tls import Tls
from tests.kafka.authority import Authority

SECRET = "correct-horse-battery"  # noqa: S105 - what must never be shown
TLS = {"security_protocol": "SSL"}
OAUTH = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}
ISSUER = {"sasl_oauthbearer_client_id": "a", "sasl_oauthbearer_client_secret_file": "secret"}


@pytest.fixture(scope="module")
def authority() -> Authority:
    """An authority."""
    return Authority()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"security_protocol": "SASL_SSL"}, "needs sasl_mechanism"),
        ({"sasl_mechanism": "PLAIN"}, "sasl_mechanism needs security_protocol SASL_SSL"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "needs sasl_plain_username"),
        (
            {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_plain_username": "a",
                "sasl_plain_password_file": "p",
            },
            "shows the password to the network: use SASL_SSL or SCRAM",
        ),
        (OAUTH, "needs sasl_oauthbearer_token_file, or sasl_oauthbearer_token_endpoint_url"),
        (
            {**OAUTH, "security_protocol": "SASL_PLAINTEXT", "sasl_oauthbearer_token_file": "t"},
            "shows the token to the network",
        ),
        (
            {**OAUTH, "sasl_oauthbearer_token_file": "t", "sasl_oauthbearer_token_endpoint_url": "https://i/t"},
            "needs sasl_oauthbearer_token_file, or sasl_oauthbearer_token_endpoint_url",
        ),
        ({**OAUTH, "sasl_oauthbearer_token_endpoint_url": "https://i/t"}, "needs sasl_oauthbearer_client_id"),
        (
            {**OAUTH, **ISSUER, "sasl_oauthbearer_token_endpoint_url": "http://issuer/t"},
            "without https shows the client's secret",
        ),
        ({**OAUTH, **ISSUER, "sasl_oauthbearer_token_endpoint_url": "https://me:pw@issuer/t"}, "must be https://"),
        ({**OAUTH, **ISSUER, "sasl_oauthbearer_token_endpoint_url": "file:///etc/passwd"}, "must be https://"),
    ],
)
def test_what_is_refused(given: dict[str, Any], said: str) -> None:
    """If it failed, a secret would go over the network for all to read, or the client's own error would come late."""
    with pytest.raises(ValidationError, match=said):
        ConnectionSettings(**given)


def test_insecure_ways_can_be_allowed() -> None:
    """If it failed, a test cluster without TLS could not be used at all."""
    plain = {"security_protocol": "SASL_PLAINTEXT", "allow_insecure_password": True}
    ConnectionSettings(**plain, sasl_mechanism="PLAIN", sasl_plain_username="a", sasl_plain_password_file="p")  # noqa: S106 - a path, as the YAML says it
    ConnectionSettings(**plain, sasl_mechanism="OAUTHBEARER", sasl_oauthbearer_token_file="t")  # noqa: S106 - as above
    ConnectionSettings(**OAUTH, **ISSUER, sasl_oauthbearer_token_endpoint_url="http://127.0.0.1:8080/t")  # noqa: S106 - as above


def test_no_secret_shows(tmp_path: Path) -> None:
    """If it failed, a configuration in a log or an error would give the password away."""
    file = tmp_path / "password"
    file.write_text(SECRET)
    given = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "me"}
    for more in ({"sasl_plain_password": SECRET}, {"sasl_plain_password_file": file}):
        settings = ConnectionSettings(**given, **more)
        assert settings.arguments()["sasl_plain_password"] == SECRET
        shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
        assert not [text for text in shown if SECRET in text]
    with pytest.raises(ValidationError) as caught:
        ConnectionSettings(**{**given, "sasl_plain_username": None}, sasl_plain_password=SECRET)
    assert "SecretStr" not in str(caught.value)


@pytest.mark.parametrize("name", ["ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile", "ssl_password_file"])
@pytest.mark.parametrize("what", ["missing", "directory", "empty", "garbage", "endless"])
def test_a_file_that_cannot_be_used(tmp_path: Path, authority: Authority, name: str, what: str) -> None:
    """If it failed, a wrong file would look like a broker that is down, half a minute later."""
    path = tmp_path / "file"
    certificate, key = authority.sign("me", password=SECRET).write(tmp_path, "me")
    (tmp_path / "pw").write_text(SECRET)
    match what:
        case "directory":
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "garbage":
            path.write_bytes(b"-----BEGIN CERTIFICATE-----\n\xff\xfe garbage\n-----END CERTIFICATE-----\n")
        case "endless":
            path = Path("/dev/zero")
    good = {"ssl_certfile": certificate, "ssl_keyfile": key, "ssl_password_file": tmp_path / "pw"}
    settings = ConnectionSettings(**{**TLS, **good, name: path})
    with pytest.raises(KafkaProblem) as caught:
        settings.arguments()
    assert caught.value.status == 78
    assert f"source.{name}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_key_of_another_certificate(tmp_path: Path, authority: Authority) -> None:
    """If it failed, two files that do not belong together would be told as the brokers' fault."""
    certificate, _ = authority.sign("one").write(tmp_path, "one")
    _, key = authority.sign("two").write(tmp_path, "two")
    settings = ConnectionSettings(**TLS, ssl_certfile=certificate, ssl_keyfile=key)
    with pytest.raises(KafkaProblem, match=r"ssl_certfile and source\.ssl_keyfile: they do not belong together"):
        settings.arguments()


def test_a_key_alone_and_unknown_ciphers(tmp_path: Path, authority: Authority) -> None:
    """If it failed, the client would ignore them without a word: it never looks at ssl_ciphers by itself."""
    _, key = authority.sign("one").write(tmp_path, "one")
    with pytest.raises(KafkaProblem, match=r"^source\.ssl_keyfile: .*set source\.ssl_certfile"):
        ConnectionSettings(**TLS, ssl_keyfile=key).arguments()
    with pytest.raises(KafkaProblem, match=r"^source\.ssl_ciphers: OpenSSL knows none of 'ROT13'"):
        ConnectionSettings(**TLS, ssl_ciphers="ROT13").arguments()


class Server:
    """A server with TLS that says what it saw of each client: version, cipher, name."""

    def __init__(self, authority: Authority, folder: Path, *, age: dt.timedelta = dt.timedelta()) -> None:
        """Listen on a free port, with a certificate for `localhost`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = authority.sign("server", ["localhost"], age=age).write(folder, "server")
        context.load_cert_chain(certificate, key)
        (folder / "ca.pem").write_text(authority.certificate)
        context.load_verify_locations(folder / "ca.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.seen: list[tuple[Any, Any, Any]] = []
        self._context = context
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            with plain:
                try:
                    with self._context.wrap_socket(plain, server_side=True) as tls:
                        name = (tls.getpeercert() or {}).get("subject")
                        self.seen.append((tls.version(), tls.cipher(), name))
                        tls.sendall(b"x")
                except OSError:
                    continue

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


def shake(settings: ConnectionSettings, server: Server, name: str = "localhost") -> None:
    """Shake hands as the client does."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
        Tls(settings).wrap_socket(plain, server_hostname=name) as tls,
    ):
        tls.recv(1)


def test_renewed_certificates_hold_from_the_next_connection(tmp_path: Path, authority: Authority) -> None:
    """If it failed, a daemon that runs for months would be locked out when its certificate has ended."""
    server = Server(authority, tmp_path)
    certificate, key = authority.sign("old").write(tmp_path, "me")
    settings = ConnectionSettings(
        security_protocol="SSL", ssl_cafile=tmp_path / "ca.pem", ssl_certfile=certificate, ssl_keyfile=key
    )
    tls = Tls(settings)
    for name in ("old", "new"):
        authority.sign(name).write(tmp_path, "me")
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
            tls.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            wrapped.recv(1)
    server.close()
    assert [seen[2][0][0][1] for seen in server.seen] == ["old", "new"]


def test_the_cipher_is_the_one_that_was_asked_for(tmp_path: Path, authority: Authority) -> None:
    """If it failed, `ssl_ciphers` would be a setting without an effect."""
    server = Server(authority, tmp_path)
    server._context.maximum_version = ssl.TLSVersion.TLSv1_2  # later versions have ciphers of their own
    cipher = "ECDHE-ECDSA-AES256-GCM-SHA384"
    shake(ConnectionSettings(security_protocol="SSL", ssl_cafile=tmp_path / "ca.pem", ssl_ciphers=cipher), server)
    server.close()
    assert server.seen[0][1][0] == cipher


def test_who_is_not_believed(tmp_path: Path, authority: Authority) -> None:
    """If it failed, somebody in between could pretend to be the brokers."""
    server = Server(authority, tmp_path)
    known = ConnectionSettings(security_protocol="SSL", ssl_cafile=tmp_path / "ca.pem")
    shake(known, server)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(known, server, "elsewhere")
    shake(known.model_copy(update={"ssl_check_hostname": False}), server, "elsewhere")
    (tmp_path / "other.pem").write_text(Authority().certificate)
    (tmp_path / "crl.pem").write_text(authority.revoked())
    for wrong in (
        {"ssl_cafile": None},
        {"ssl_cafile": tmp_path / "other.pem"},
        {"ssl_cafile": None, "ssl_check_hostname": False},
        {"ssl_crlfile": tmp_path / "crl.pem"},
    ):
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
            shake(known.model_copy(update=wrong), server)
    server.close()
    old = Server(authority, tmp_path, age=dt.timedelta(days=2))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake(known, old)
    old.close()
