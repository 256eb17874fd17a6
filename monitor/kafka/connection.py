"""How to reach a Kafka cluster: the settings that source, sink and commands share, under Kafka's own names."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from kafka.net.compat import KafkaNetClient
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from monitor.kafka.errors import connecting
from monitor.kafka.names import Server
from monitor.kafka.secret import secret
from monitor.kafka.selector import Selector
from monitor.kafka.tls import Tls
from monitor.kafka.tokens import Client, TokenEndpoint, TokenFile, Tokens
from monitor.kafka.unpacking import bound


class ConnectionSettings(BaseModel):
    """Addresses, TLS and SASL. Secrets come from files or the environment, and are never shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bootstrap_servers: tuple[Server, ...] = Field(
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
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = Field(
        None, description="how to authenticate, with a SASL protocol"
    )
    sasl_plain_username: str | None = Field(None, description="user name, for PLAIN and SCRAM")
    sasl_plain_password_file: Path | None = Field(None, description="file with the password; its last line end is cut")
    sasl_plain_password: SecretStr | None = Field(
        None, description="the password; only from the environment, never in the file"
    )
    sasl_oauthbearer_token_file: Path | None = Field(
        None, description="file with a bearer token, read at each connection, for OAUTHBEARER"
    )
    sasl_oauthbearer_token_endpoint_url: str | None = Field(
        None, description="or: where an issuer gives tokens for client credentials (OAuth 2); https"
    )
    sasl_oauthbearer_client_id: str | None = Field(None, description="name of this client at the issuer")
    sasl_oauthbearer_client_secret_file: Path | None = Field(None, description="file with its secret there")
    sasl_oauthbearer_scope: str | None = Field(None, description="what the token is for, if the issuer wants to know")
    sasl_oauthbearer_cafile: Path | None = Field(
        None, description="certificate of the authority that signed the issuer's"
    )
    allow_insecure_password: bool = Field(
        default=False, description="send a PLAIN password, a token or a client secret without TLS"
    )
    request_timeout_ms: int = Field(30_000, ge=1_000, description="how long one request may take, ms")
    bootstrap_timeout_ms: int = Field(30_000, ge=1_000, description="how long to try for a first broker, ms")

    @field_validator("sasl_oauthbearer_token_endpoint_url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username or parts.password:
                message = "must be https://host/path, without a user or password in it"
                raise ValueError(message)
        return url

    @model_validator(mode="after")
    def _consistent(self) -> ConnectionSettings:
        sasl, mechanism = self.security_protocol.startswith("SASL"), self.sasl_mechanism
        if sasl and mechanism is None:
            message = f"security_protocol {self.security_protocol} needs sasl_mechanism"
            raise ValueError(message)
        if mechanism is not None and not sasl:
            message = "sasl_mechanism needs security_protocol SASL_SSL (or SASL_PLAINTEXT)"
            raise ValueError(message)
        if mechanism == "OAUTHBEARER":
            self._check_tokens()
        elif sasl and (
            self.sasl_plain_username is None or not (self.sasl_plain_password_file or self.sasl_plain_password)
        ):
            message = "SASL needs sasl_plain_username and sasl_plain_password_file"
            raise ValueError(message)
        if mechanism in {"PLAIN", "OAUTHBEARER"} and not (
            "SSL" in self.security_protocol or self.allow_insecure_password
        ):
            what = "password" if mechanism == "PLAIN" else "token"
            message = (
                f"{mechanism} over SASL_PLAINTEXT shows the {what} to the network: use SASL_SSL"
                f"{' or SCRAM' if mechanism == 'PLAIN' else ''}"
            )
            raise ValueError(message)
        return self

    def _check_tokens(self) -> None:
        """Refuse OAUTHBEARER without a way to get tokens.

        Raises:
            ValueError: if it is not clear where they come from, or the secret would be shown to the network.
        """
        url = self.sasl_oauthbearer_token_endpoint_url
        if (self.sasl_oauthbearer_token_file is None) == (url is None):
            message = "OAUTHBEARER needs sasl_oauthbearer_token_file, or sasl_oauthbearer_token_endpoint_url"
            raise ValueError(message)
        if url is None:
            return
        if self.sasl_oauthbearer_client_id is None or self.sasl_oauthbearer_client_secret_file is None:
            message = (
                "sasl_oauthbearer_token_endpoint_url needs sasl_oauthbearer_client_id and"
                " sasl_oauthbearer_client_secret_file"
            )
            raise ValueError(message)
        parts = urlsplit(url)
        if parts.scheme == "http" and not (_loopback(parts.hostname or "") or self.allow_insecure_password):
            message = "sasl_oauthbearer_token_endpoint_url without https shows the client's secret to the network"
            raise ValueError(message)

    @property
    def address(self) -> str:
        """The brokers as text."""
        return ",".join(self.bootstrap_servers)

    def arguments(self) -> dict[str, Any]:
        """Return the client's keyword arguments.

        Raises:
            KafkaProblem: if a file that the settings name cannot be used, or there is no token.
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
            found["ssl_context"] = Tls(self)
        if self.sasl_mechanism is not None:
            found["sasl_mechanism"] = self.sasl_mechanism
        if self.sasl_mechanism == "OAUTHBEARER":
            found["sasl_oauth_token_provider"] = self._tokens()
        elif self.sasl_mechanism is not None:
            found["sasl_plain_username"] = self.sasl_plain_username
            found["sasl_plain_password"] = (
                secret("source.sasl_plain_password_file", self.sasl_plain_password_file)
                if self.sasl_plain_password_file is not None
                else self.sasl_plain_password.get_secret_value()  # type: ignore[union-attr]  # validated above
            )
        return found

    def _tokens(self) -> Tokens:
        """Return what gives the client tokens; the first is got here, so that what is wrong is told at once."""
        file, url = self.sasl_oauthbearer_token_file, self.sasl_oauthbearer_token_endpoint_url
        if file is not None:
            tokens = Tokens(TokenFile("source.sasl_oauthbearer_token_file", file))
        else:
            client = Client(
                url or "",
                self.sasl_oauthbearer_client_id or "",
                self.sasl_oauthbearer_client_secret_file or Path(),
                self.sasl_oauthbearer_scope,
                self.sasl_oauthbearer_cafile,
            )
            tokens = Tokens(TokenEndpoint(client))
        tokens.first()
        return tokens


_METADATA_MS = 20


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def connect(make: Callable[..., Any], connection: ConnectionSettings, **more: Any) -> Any:  # noqa: ANN401 - the client has no types
    """Return a new client of `make`'s kind; one that cannot connect leaves no thread and no socket behind.

    Raises:
        KafkaProblem: if it cannot connect; the message says why.
    """
    begun: list[Any] = []

    def network(**settings: Any) -> Any:  # noqa: ANN401 - as above
        begun.append(KafkaNetClient(**settings))
        return begun[-1]

    arguments = {**connection.arguments(), **more}
    try:
        with connecting(connection.address, connection.sasl_mechanism, arguments.get("sasl_oauth_token_provider")):
            client = make(**arguments, kafka_client=network, selector=Selector)
    except BaseException:
        for each in begun:
            each.close()
        raise
    if hasattr(client, "_fetcher"):
        bound(client)
        # Between two looks at the topics: the client's own 100 ms, which nothing public changes, would pass once at
        # every start, between connecting and asking for a topic.
        client._cluster.config["retry_backoff_ms"] = _METADATA_MS  # noqa: SLF001 - as said
    return client
