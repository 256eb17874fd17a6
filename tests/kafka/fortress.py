"""A Kafka with every lock on: TLS with a certificate authority of its own, SASL, and rights that must be given.

Beside the plain listener, through which a test does what it likes, there are `tls` (a client certificate is asked for)
and `login` (PLAIN, SCRAM and OAUTHBEARER over TLS). Both certificates name `localhost` and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)

from tests.kafka.authority import Authority
from tests.kafka.broker import Broker, free_ports
from tests.kafka.issuer import AUDIENCE, Issuer

PLAIN_USER, PLAIN_PASSWORD = "reader", "plain-Sesame,1"
_JAAS = "org.apache.kafka.common.security.{module} required {options};"
_OAUTH = "org.apache.kafka.common.security.oauthbearer"


class Fortress(Broker):
    """One node with listeners that ask who is there.

    Attributes:
        authority: who signed the brokers' certificates, and signs those of clients.
        issuer: who issues tokens.
        tls: address of the listener with client certificates.
        login: address of the listener with SASL over TLS.
    """

    def __init__(self) -> None:
        """Choose place and ports; starts nothing but the issuer.

        Raises:
            NoKafkaError: if this machine has no Kafka.
        """
        super().__init__()
        self.authority = Authority()
        self.issuer = Issuer()
        tls, login = free_ports(2)
        self.tls, self.login = f"localhost:{tls}", f"localhost:{login}"

    def start(self) -> Self:
        """Start; the brokers may ask the issuer for its keys."""
        with _java_option(f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.issuer.url}/jwks"):
            super().start()
        return self

    def stop(self, node: int | None = None) -> None:
        """Stop."""
        super().stop(node)
        if node is None:
            self.issuer.__exit__()

    def scram(self, user: str, password: str, mechanism: str) -> None:
        """Make a user of SCRAM."""
        with self._admin() as admin:
            done = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, mechanism, password)])
        assert done == {user: None}, done

    def allow(self, principal: str, rights: Mapping[tuple[str, str], str]) -> None:
        """Give rights: (kind, name) → operation, such as `("topic", "sensors"): "READ"`; a name may end with `*`."""
        acls = [
            ACL(
                f"User:{principal}",
                "*",
                ACLOperation[operation],
                ACLPermissionType.ALLOW,
                ResourcePattern(
                    ResourceType[kind.upper()],
                    name.removesuffix("*"),
                    ACLResourcePatternType.PREFIXED if name.endswith("*") else ACLResourcePatternType.LITERAL,
                ),
            )
            for (kind, name), operations in rights.items()
            for operation in operations.split()
        ]
        if not acls:
            return
        with self._admin() as admin:
            done = admin.create_acls(acls)
        assert not done["failed"], done

    @contextmanager
    def _admin(self) -> Iterator[KafkaAdminClient]:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            yield admin
        finally:
            admin.close()

    def _settings(self, number: int, log: Path) -> dict[str, str]:
        """Return the server properties of the node."""
        base = super()._settings(number, log)
        listeners = f",TLS://{self.tls},LOGIN://{self.login}"
        server = self.authority.sign("broker", ["localhost"])
        found = {
            **base,
            "listeners": base["listeners"] + listeners,
            "advertised.listeners": base["advertised.listeners"] + listeners,
            "listener.security.protocol.map": base["listener.security.protocol.map"] + ",TLS:SSL,LOGIN:SASL_SSL",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # who comes by the plain listener, or from node to node
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": _line(server.certificate),
            "ssl.keystore.key": _line(server.key),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": _line(self.authority.certificate),
            "listener.name.tls.ssl.client.auth": "required",
            "sasl.oauthbearer.jwks.endpoint.url": f"{self.issuer.url}/jwks",
            "sasl.oauthbearer.expected.audience": AUDIENCE,
        }
        login = "listener.name.login."
        user = f'user_{PLAIN_USER}="{PLAIN_PASSWORD}"'
        found[f"{login}sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
        found[f"{login}plain.sasl.jaas.config"] = _JAAS.format(module="plain.PlainLoginModule", options=user)
        for mechanism in ("256", "512"):
            jaas = _JAAS.format(module="scram.ScramLoginModule", options="")
            found[f"{login}scram-sha-{mechanism}.sasl.jaas.config"] = jaas
        found[f"{login}oauthbearer.sasl.jaas.config"] = _JAAS.format(
            module="oauthbearer.OAuthBearerLoginModule", options=""
        )
        # So soon a client with a token must show a new one, or be cut off.
        found[f"{login}oauthbearer.connections.max.reauth.ms"] = "4000"
        handler = f"{_OAUTH}.OAuthBearerValidatorCallbackHandler"
        found[f"{login}oauthbearer.sasl.server.callback.handler.class"] = handler
        return found


def _line(pem: str) -> str:
    """Return PEM as the value of a property: its line ends escaped."""
    return pem.strip().replace("\n", "\\n")


@contextmanager
def _java_option(option: str) -> Iterator[None]:
    """Give Java an option by its environment, which the nodes inherit."""
    before = os.environ.get("JDK_JAVA_OPTIONS")
    os.environ["JDK_JAVA_OPTIONS"] = f"{before or ''} {option}".strip()
    try:
        yield
    finally:
        if before is None:
            del os.environ["JDK_JAVA_OPTIONS"]
        else:
            os.environ["JDK_JAVA_OPTIONS"] = before
