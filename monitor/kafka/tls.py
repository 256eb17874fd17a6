"""TLS for the Kafka client: the files that settings name, read anew for each connection.

The client of kafka-python builds a context for each connection by itself, but ignores `ssl_ciphers`, asks on the
terminal for the passphrase of a key, and tells of a wrong file as of a broker that cannot be reached. What it takes in
place of a context is asked for one thing alone: to wrap a socket.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Protocol

from monitor.kafka.errors import EXIT_OPERATOR, KafkaProblem
from monitor.kafka.secret import content, secret


class TlsSettings(Protocol):
    """The settings that TLS needs."""

    @property
    def ssl_cafile(self) -> Path | None:
        """Certificates to trust; None = the system's."""

    @property
    def ssl_certfile(self) -> Path | None:
        """Own certificate."""

    @property
    def ssl_keyfile(self) -> Path | None:
        """Own private key; None = in the file of the certificate."""

    @property
    def ssl_password_file(self) -> Path | None:
        """Passphrase of the key."""

    @property
    def ssl_check_hostname(self) -> bool:
        """Whether the certificate must name the host."""

    @property
    def ssl_crlfile(self) -> Path | None:
        """Revoked certificates."""

    @property
    def ssl_ciphers(self) -> str | None:
        """Ciphers; None = OpenSSL's."""


class Tls:
    """What the client takes for an `ssl.SSLContext`: renewed certificates hold from the next connection."""

    def __init__(self, settings: TlsSettings) -> None:
        """Read all files once.

        Raises:
            KafkaProblem: if one cannot be used; the message names the setting.
        """
        self._settings = settings
        self._context()

    def wrap_socket(self, sock: Any, **how: Any) -> ssl.SSLSocket:  # noqa: ANN401 - as the client calls it
        """Return a socket with TLS over it; `how` as for `ssl.SSLContext.wrap_socket`."""
        return self._context().wrap_socket(sock, **how)

    def _context(self) -> ssl.SSLContext:
        settings = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = settings.ssl_check_hostname
        if settings.ssl_cafile is None:
            context.load_default_certs()
        else:
            _load(context, "source.ssl_cafile", settings.ssl_cafile, "a certificate in PEM")
        if settings.ssl_crlfile is not None:
            _load(context, "source.ssl_crlfile", settings.ssl_crlfile, "a list of revoked certificates in PEM")
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        if settings.ssl_ciphers is not None:
            try:
                context.set_ciphers(settings.ssl_ciphers)
            except ssl.SSLError:
                message = f"source.ssl_ciphers: OpenSSL knows none of {settings.ssl_ciphers!r}"
                raise KafkaProblem(message, EXIT_OPERATOR) from None
        if settings.ssl_certfile is not None:
            self._identify(context, settings.ssl_certfile)
        elif settings.ssl_keyfile is not None:
            message = "source.ssl_keyfile: a private key needs its certificate: set source.ssl_certfile"
            raise KafkaProblem(message, EXIT_OPERATOR)
        return context

    def _identify(self, context: ssl.SSLContext, certificate: Path) -> None:
        """Give the context the certificate by which the brokers know this client."""
        key, file = self._settings.ssl_keyfile, self._settings.ssl_password_file
        content("source.ssl_certfile", certificate)
        if key is not None:
            content("source.ssl_keyfile", key)
        # Without a passphrase OpenSSL would ask for one on the terminal.
        password = "" if file is None else secret("source.ssl_password_file", file)
        try:
            context.load_cert_chain(certificate, key, password)
        except (ssl.SSLError, ValueError, OSError) as error:
            named = "source.ssl_certfile" if key is None else "source.ssl_certfile and source.ssl_keyfile"
            what = (
                f"{named}: they do not belong together"
                if "MISMATCH" in str(error)
                else f"{named}: no certificate and key in PEM that belong together, or source.ssl_password_file does"
                " not hold the passphrase of the key"
            )
            raise KafkaProblem(what, EXIT_OPERATOR) from None


def _load(context: ssl.SSLContext, setting: str, path: Path, what: str) -> None:
    """Let a context trust, or distrust, what a file says."""
    content(setting, path)
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, ValueError, OSError):
        message = f"{setting}: {path} does not hold {what}"
        raise KafkaProblem(message, EXIT_OPERATOR) from None
