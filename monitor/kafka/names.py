"""What Kafka takes for the name of a topic, and the client for the address of a broker.

Found wrong here, it is one line of `tidegauge check`; found wrong by a broker, it is an error of a running daemon.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

_TOPIC = r"^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$"
_SERVER = r"^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$"
_PORTS = range(1, 65_536)


def _topic(name: str) -> str:
    """Refuse what brokers refuse (`org.apache.kafka.common.internals.Topic`)."""
    if not re.fullmatch(_TOPIC, name):
        message = "must be the name of a topic: 1 to 249 of A-Z a-z 0-9 . _ - (but not . or ..)"
        raise ValueError(message)
    return name


def _server(address: str) -> str:
    """Refuse an address without a port: the client would take 9092, whatever was meant."""
    if not re.fullmatch(_SERVER, address) or int(address.rpartition(":")[2]) not in _PORTS:
        message = "must be host:port, such as localhost:9092 or [::1]:9092"
        raise ValueError(message)
    return address


TopicName = Annotated[str, AfterValidator(_topic), WithJsonSchema({"type": "string", "pattern": _TOPIC})]
"""Name of a topic."""

Server = Annotated[str, AfterValidator(_server), WithJsonSchema({"type": "string", "pattern": _SERVER})]
"""Address of a broker, host:port."""
