"""How to reach a Kafka cluster: the settings that source, sink and commands share, under Kafka's own names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from kafka.net.compat import KafkaNetClient
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from monitor.kafka.errors import EXIT_OPERATOR, KafkaProblem, connecting


class ConnectionSettings(BaseModel):
    """Addresses, TLS and SASL. Secrets come from files or the environment, and are never shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bootstrap_servers: tuple[str, ...] = Field(
        ("localhost:9092",), min_length=1, description="brokers to begin with, host:port"
    )
    client_id: str = Field("tidegauge", description="name of this client in the brokers' logs and quotas")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="TLS and SASL, on or off"
    )
    ssl_cafile: Path | None = Field(None, description="certificate of the authority that signed the brokers'")
    ssl_certfile: Path | None = Field(None, description="own certificate, for mutual TLS")
    ssl_keyfile: Path | None = Field(None, description="own private key")
    ssl_password_file: Path | None = Field(None, description="file with the passphrase of the private key")
    ssl_check_hostname: bool = Field(default=True, description="whether the certificate must name the host")
    ssl_crlfile: Path | None = Field(None, description="revoked certificates")
    ssl_ciphers: str | None = Field(None, description="ciphers, in OpenSSL's form")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="how to authenticate, with a SASL protocol"
    )
    sasl_plain_username: str | None = Field(None, description="user name, for PLAIN and SCRAM")
    sasl_plain_password_file: Path | None = Field(None, description="file with the password; its last line end is cut")
    sasl_plain_password: SecretStr | None = Field(
        None, description="the password; only from the environment, never in the file"
    )
    allow_insecure_password: bool = Field(default=False, description="send a PLAIN password without TLS")
    request_timeout_ms: int = Field(30_000, ge=1_000, description="how long one request may take, ms")
    bootstrap_timeout_ms: int = Field(30_000, ge=1_000, description="how long to try for a first broker, ms")

    @model_validator(mode="after")
    def _consistent(self) -> ConnectionSettings:
        sasl = self.security_protocol.startswith("SASL")
        if sasl and self.sasl_mechanism is None:
            message = f"security_protocol {self.security_protocol} needs sasl_mechanism"
            raise ValueError(message)
        if self.sasl_mechanism is not None and not sasl:
            message = "sasl_mechanism needs security_protocol SASL_SSL (or SASL_PLAINTEXT)"
            raise ValueError(message)
        password = self.sasl_plain_password_file or self.sasl_plain_password
        if sasl and (self.sasl_plain_username is None or not password):
            message = "SASL needs sasl_plain_username and sasl_plain_password_file"
            raise ValueError(message)
        if (
            self.sasl_mechanism == "PLAIN"
            and self.security_protocol == "SASL_PLAINTEXT"
            and not self.allow_insecure_password
        ):
            message = "PLAIN over SASL_PLAINTEXT shows the password to the network: use SASL_SSL or SCRAM"
            raise ValueError(message)
        return self

    @property
    def address(self) -> str:
        """The brokers as text."""
        return ",".join(self.bootstrap_servers)

    def arguments(self) -> dict[str, Any]:
        """Return the client's keyword arguments.

        Raises:
            KafkaProblem: if a file that the settings name cannot be read.
        """
        found: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "request_timeout_ms": self.request_timeout_ms,
            "bootstrap_timeout_ms": self.bootstrap_timeout_ms,
            # The client's own 30 s would be half a minute without alerts after every restart of a broker.
            "reconnect_backoff_max_ms": 1_000,
        }
        if "SSL" in self.security_protocol:
            found["ssl_check_hostname"] = self.ssl_check_hostname
            for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile", "ssl_ciphers"):
                value = getattr(self, name)
                if isinstance(value, Path):
                    _read(f"source.{name}", value)  # the client would only say that it cannot connect
                if value is not None:
                    found[name] = str(value)
            if self.ssl_password_file is not None:
                found["ssl_password"] = _secret("source.ssl_password_file", self.ssl_password_file)
        if self.sasl_mechanism is not None:
            found["sasl_mechanism"] = self.sasl_mechanism
            found["sasl_plain_username"] = self.sasl_plain_username
            found["sasl_plain_password"] = (
                _secret("source.sasl_plain_password_file", self.sasl_plain_password_file)
                if self.sasl_plain_password_file is not None
                else self.sasl_plain_password.get_secret_value()  # type: ignore[union-attr]  # validated above
            )
        return found


def connect(make: Callable[..., Any], connection: ConnectionSettings, **more: Any) -> Any:  # noqa: ANN401 - the client has no types
    """Return a new client of `make`'s kind; one that cannot connect leaves no thread and no socket behind.

    Raises:
        KafkaProblem: if it cannot connect; the message says why.
    """
    begun: list[Any] = []

    def network(**settings: Any) -> Any:  # noqa: ANN401 - as above
        begun.append(KafkaNetClient(**settings))
        return begun[-1]

    try:
        with connecting(connection.address, sasl=connection.sasl_mechanism is not None):
            return make(**{**connection.arguments(), **more}, kafka_client=network)
    except BaseException:
        for each in begun:
            each.close()
        raise


def _read(setting: str, path: Path) -> bytes:
    """Return the content of a file that a setting names."""
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{setting}: {path} cannot be read: {error.strerror}"
        raise KafkaProblem(message, EXIT_OPERATOR) from None


def _secret(setting: str, path: Path) -> str:
    """Return the content of a secret's file without its last line end."""
    try:
        return _read(setting, path).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        message = f"{setting}: {path} is not UTF-8"
        raise KafkaProblem(message, EXIT_OPERATOR) from None
