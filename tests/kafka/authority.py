"""A certificate authority for a test run: it signs certificates of brokers and clients, in PEM, valid for a day."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = dt.timedelta(days=1)


class Signed(NamedTuple):
    """A certificate and its private key, in PEM."""

    certificate: str
    key: str

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write `NAME.pem` and `NAME.key`, and return both paths."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_text(self.certificate)
        key.write_text(self.key)
        return certificate, key


class Authority:
    """Signs what it is asked to.

    Attributes:
        certificate: its own certificate, in PEM.
    """

    def __init__(self, name: str = "tidegauge tests") -> None:
        """Make a key and a certificate of its own."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        public = self._key.public_key()
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            self._begun(self._name, public, dt.timedelta())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        self._signed: list[x509.Certificate] = []
        self.certificate = _pem(builder.sign(self._key, hashes.SHA256()))

    def sign(
        self,
        common_name: str,
        names: Sequence[str] = (),
        *,
        password: str | None = None,
        age: dt.timedelta = dt.timedelta(),
    ) -> Signed:
        """Return a new certificate with its key.

        Args:
            common_name: whose it is; Kafka takes a client for `User:CN=<common_name>`.
            names: host names and addresses of a server.
            password: of the key; None leaves it open.
            age: how long ago it was signed; it is valid for a day.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            self._begun(subject, public, age)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(issuer, critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)  # noqa: FBT003 - not critical; the builder's own order
        certificate = builder.sign(self._key, hashes.SHA256())
        self._signed.append(certificate)
        secrecy: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            secrecy = serialization.BestAvailableEncryption(password.encode())
        form = serialization.PrivateFormat.PKCS8
        return Signed(_pem(certificate), key.private_bytes(serialization.Encoding.PEM, form, secrecy).decode())

    def revoked(self) -> str:
        """Return a list, in PEM, that revokes everything that was signed so far."""
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - _DAY).next_update(now + _DAY)
        for each in self._signed:
            entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def _begun(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, age: dt.timedelta
    ) -> x509.CertificateBuilder:
        """Return what all certificates share."""
        since = dt.datetime.now(dt.UTC) - age - dt.timedelta(minutes=5)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(since + _DAY)
        )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
