"""One POST of JSON: credentials and TLS, through the sink that uses it."""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.sinks.alertmanager import Settings
from monitor.sinks.base import SinkError
from tests.monitor.sinks.events import event
from tests.monitor.sinks.receiver import Receiver

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver."""
    with Receiver() as found:
        yield found


def test_secrets_are_read_from_files_each_time(tmp_path: Path, receiver: Receiver) -> None:
    """A token that is changed under the running daemon must be used from then on."""
    token = tmp_path / "token"
    token.write_text("first\n")
    sink = Settings(url=receiver.url, bearer_token_file=token).build()
    sink.deliver([event()])
    token.write_text("second\n")
    sink.deliver([event()])
    assert [request.headers["Authorization"] for request in receiver.requests] == ["Bearer first", "Bearer second"]


def test_basic_authentication(tmp_path: Path, receiver: Receiver) -> None:
    """The other way that Alertmanager knows."""
    (tmp_path / "password").write_text("open sesame\n")
    Settings(url=receiver.url, username="me", password_file=tmp_path / "password").build().deliver([event()])
    (request,) = receiver.requests
    kind, _, pair = request.headers["Authorization"].partition(" ")
    assert (kind, base64.b64decode(pair)) == ("Basic", b"me:open sesame")


def test_a_missing_or_odd_secret_is_said_at_the_start_and_not_shown(tmp_path: Path) -> None:
    """A wrong path must not come up with the first alert, and a message must not be a leak."""
    odd = tmp_path / "odd"
    odd.write_text("hunter2\nmore")
    for path, said in [(odd, "must hold one line"), (tmp_path / "none", "No such file or directory")]:
        with pytest.raises(SinkError, match=said) as caught:
            Settings(url=NOBODY, bearer_token_file=path).build()
        assert str(path) in str(caught.value)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(SinkError, match=r"ca_file .*none: cannot be used: No such file or directory"):
        Settings(url=NOBODY, ca_file=tmp_path / "none").build()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody trusts, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    files = (tmp_path / "cert.pem", tmp_path / "key.pem")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=receiver", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", str(files[0]), "-keyout", str(files[1])),
        ],
        check=True,
        capture_output=True,
    )
    return files


def test_tls_trusts_whom_it_is_told_to(certificate: tuple[Path, Path]) -> None:
    """A receiver with another certificate could be anybody; alerts and tokens must not go there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with Receiver(tls=context) as receiver:
        url = receiver.url.replace("http:", "https:")
        Settings(url=url, ca_file=certificate[0]).build().deliver([event()])
        assert len(receiver.alerts) == 1
        with pytest.raises(SinkError, match=r"certificate is not trusted .*: set ca_file"):
            Settings.model_validate({"url": url, "timeout": "300ms"}).build().deliver([event()])
        assert len(receiver.alerts) == 1
