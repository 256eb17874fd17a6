"""Why brokers did not let this client in, read off what the client logs: its exceptions say 'timeout' for all of it."""

from __future__ import annotations

import re

_FIX_CERTIFICATE = (
    (
        r"Hostname mismatch|IP address mismatch|certificate is not valid for",
        (
            "does not name the host: write source.bootstrap_servers (and the brokers' advertised.listeners) as the"
            " certificate does"
        ),
    ),
    (r"certificate has expired", "has expired: the brokers need a new one"),
    (r"certificate is not yet valid", "is not valid yet: look at the clocks"),
    (r"certificate revoked", "is revoked by source.ssl_crlfile: the brokers need a new one"),
    (r"unable to get certificate CRL", "is of an authority that source.ssl_crlfile has no list of"),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLCertVerification",
        "cannot be verified: check source.ssl_cafile, which must hold the certificate of the authority that signed it",
    ),
)
_REFUSALS = (
    *((pattern, f"the certificate of the brokers at {{0}} {text}") for pattern, text in _FIX_CERTIFICATE),
    (
        r"ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_(UNKNOWN|EXPIRED|REVOKED))",
        "the brokers at {0} want a certificate that they trust: set source.ssl_certfile and source.ssl_keyfile",
    ),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|UNEXPECTED_EOF|PACKET_LENGTH_TOO_LONG",
        "the brokers at {0} do not speak TLS on this port: check source.security_protocol and the port",
    ),
    (
        r"NO_SHARED_CIPHER|ALERT_HANDSHAKE_FAILURE|NO_CIPHERS",
        "the brokers at {0} know none of these ciphers: check source.ssl_ciphers",
    ),
)
_BY_NAME = "source.sasl_mechanism, source.sasl_plain_username and source.sasl_plain_password_file"
_BY_BEARER = "source.sasl_mechanism, and the token that source.sasl_oauthbearer_* get: its issuer, audience and end"


def refusal(said: str, bootstrap: str, mechanism: str | None) -> str:
    """Return a line that names the setting, empty if brokers could not be reached at all.

    Args:
        said: what the client logged and raised.
        bootstrap: the brokers' addresses.
        mechanism: how the client authenticates, None if it does not.
    """
    for pattern, text in _REFUSALS:
        if re.search(pattern, said):
            return text.format(bootstrap)
    if "UnsupportedSaslMechanism" in said:
        return f"the brokers at {bootstrap} do not take {mechanism}: check source.sasl_mechanism"
    denied = re.search(r"SaslAuthenticationFailed|[Aa]uthentication failed|invalid credentials", said)
    if denied or (mechanism is not None and _hung_up(said)):
        settings = _BY_BEARER if mechanism == "OAUTHBEARER" else _BY_NAME
        return f"the brokers at {bootstrap} refused the credentials: check {settings}"
    return ""


def _hung_up(said: str) -> bool:
    """Whether brokers took the connection and closed it, each time.

    So a refused password looks: the broker answers and closes at once, and the client throws the answer away when it
    reads the end of the connection together with it.
    """
    lost = re.findall(r"Connection lost: ([^>]*)", said)
    closed = [each for each in lost if "socket disconnected" in each]
    return len(closed) > 1 and not re.search(r"ECONN|EHOST|ENET|unreachable", " ".join(lost))
