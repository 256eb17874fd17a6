"""A connection's settings in librdkafka's names, its log, and the life of tokens."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from monitor.kafka.confluent.configuration import Log, configuration, made, reach
from monitor.kafka.confluent.group import _read
from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import KafkaProblem
from tests.kafka.authority import Authority


def _ignore(error: object) -> None:
    del error


def test_every_setting_of_a_connection_reaches_the_client(tmp_path: Path) -> None:
    """If it failed, a setting of TLS or SASL would be without an effect, or librdkafka refuse to begin."""
    authority = Authority()
    certificate, key = authority.sign("me", password="open").write(tmp_path, "me")  # noqa: S106 - of a test's key
    (tmp_path / "ca.pem").write_text(authority.certificate)
    (tmp_path / "crl.pem").write_text(authority.revoked())
    (tmp_path / "phrase").write_text("open\n")
    (tmp_path / "password").write_text("Sesame\n")
    found = configuration(
        ConnectionSettings(
            bootstrap_servers=("a:1", "b:2"),
            security_protocol="SASL_SSL",
            ssl_cafile=tmp_path / "ca.pem",
            ssl_certfile=certificate,
            ssl_keyfile=key,
            ssl_password_file=tmp_path / "phrase",
            ssl_check_hostname=False,
            ssl_crlfile=tmp_path / "crl.pem",
            ssl_ciphers="ECDHE-ECDSA-AES256-GCM-SHA384",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username="gauge",
            sasl_plain_password_file=tmp_path / "password",
        ),
        _ignore,
    )
    wanted = {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "sasl_ssl",
        "ssl.endpoint.identification.algorithm": "none",
        "ssl.ca.location": str(tmp_path / "ca.pem"),
        "ssl.certificate.location": str(certificate),
        "ssl.key.location": str(key),
        "ssl.key.password": "open",
        "ssl.crl.location": str(tmp_path / "crl.pem"),
        "ssl.cipher.suites": "ECDHE-ECDSA-AES256-GCM-SHA384",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "gauge",
        "sasl.password": "Sesame",
    }
    assert {name: found[name] for name in wanted} == wanted
    Consumer(found | {"group.id": "g"}).close()  # librdkafka takes all of it


def test_tokens_are_asked_for_before_they_end(tmp_path: Path) -> None:
    """If it failed, a token that somebody renews would be used beyond its end."""
    file = tmp_path / "token"
    file.write_text("one\n")
    settings = ConnectionSettings(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_oauthbearer_token_file=file
    )
    ask = configuration(settings, _ignore)["oauth_cb"]
    assert ask("")[0] == "one"
    file.write_text("two\n")
    token, end = ask("")
    assert token == "two"  # noqa: S105 - of a test
    assert 0 < end - time.time() < 120
    file.unlink()
    token, again = ask("")
    assert token == "two"  # noqa: S105 - as above
    assert again < end


def test_what_librdkafka_says_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it failed, its lines would go past the log to standard error, or all be taken for one that repeats."""
    log, said = Log(), []
    assert log._logger is logging.getLogger("kafka.librdkafka")
    # Other tests configure, silence and replace loggers; what is looked at here is what this one is given.
    monkeypatch.setattr(log._logger, "_log", lambda level, text, what: said.append((level, text, what)))
    monkeypatch.setattr(log._logger, "isEnabledFor", lambda level: level >= logging.WARNING)
    log.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#consumer-1", "Connection refused")
    log.log(logging.ERROR, "%s [%s] %s", "FATAL", "rdkafka#consumer-1", "fenced")
    log.log(logging.DEBUG, "%s [%s] %s", "SEND", "rdkafka#consumer-1", "Fetch")
    assert said == [
        (logging.ERROR, "FAIL: %s", ("Connection refused",)),
        (logging.ERROR, "FATAL: %s", ("fenced",)),
    ]


def test_a_broker_that_is_not_there() -> None:
    """If it failed, a wrong address would be waited for in silence, or told without its setting."""
    settings = ConnectionSettings(bootstrap_servers=("127.0.0.1:1",))
    consumer = Consumer(configuration(settings, _ignore) | {"group.id": "g"})
    try:
        with pytest.raises(KafkaProblem, match=r"no broker of source\.bootstrap_servers 127\.0\.0\.1:1 can be reached"):
            reach(consumer, settings, [], 0.5)
    finally:
        consumer.close()


def test_a_setting_that_librdkafka_does_not_take_is_a_line() -> None:
    """If it failed, a value that only the other client takes would be a traceback."""
    settings = ConnectionSettings()
    with pytest.raises(KafkaProblem, match=r"^cannot connect to .*session\.timeout\.ms") as caught:
        made(Consumer, settings, configuration(settings, _ignore) | {"group.id": "g", "session.timeout.ms": -1})
    assert caught.value.status == 78


def test_a_membership_in_an_unknown_form_is_said() -> None:
    """If it failed, a later confluent-kafka could let a member commit that is in no group."""
    assert _read(b"CGMDv2:\x05\0\0\0group\0name-1\0\0one\0", "group") == (5, "name-1")
    assert _read(b"CGMDv2:\xff\xff\xff\xffgroup\0\0\0", "group") == (-1, "")
    with pytest.raises(KafkaProblem, match=r"use source\.client: kafka-python"):
        _read(b"CGMDv3:\0", "group")
