"""Which client of Kafka is behind the port."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from monitor.kafka.connection import ConnectionSettings
from monitor.kafka.errors import EXIT_OPERATOR, KafkaProblem
from monitor.kafka.port import GroupClient, GroupSettings, Identity, TransactionalClient

ClientName = Literal["kafka-python", "confluent"]
"""kafka-python: in every install; confluent: confluent-kafka, with librdkafka in it, of the extra `librdkafka`."""


def require_client(name: ClientName) -> None:
    """Make sure that a client is installed.

    Raises:
        KafkaProblem: if it is not; the message says what to install.
    """
    if name == "confluent" and find_spec("confluent_kafka") is None:
        message = (
            "source.client: confluent needs the extra librdkafka: pip install 'tidegauge[librdkafka]', or leave the"
            " setting out for kafka-python"
        )
        raise KafkaProblem(message, EXIT_OPERATOR)


def group_client(name: ClientName, connection: ConnectionSettings, settings: GroupSettings) -> GroupClient:
    """Return a member of a group, connected.

    Raises:
        KafkaProblem: if the client is not installed, or the cluster cannot be reached.
    """
    require_client(name)
    if name == "confluent":
        from monitor.kafka.confluent.group import ConfluentGroup

        return ConfluentGroup(connection, settings)
    from monitor.kafka.python.group import PythonGroup

    return PythonGroup(connection, settings)


def transactional_client(
    name: ClientName, connection: ConnectionSettings, identity: Identity, seconds: float
) -> TransactionalClient:
    """Return a producer that has taken an identity over; brokers that do not answer are asked for so long.

    Raises:
        KafkaProblem: if the client is not installed, or the cluster cannot be reached.
        KafkaError: if the identity cannot be had.
    """
    require_client(name)
    if name == "confluent":
        from monitor.kafka.confluent.producer import ConfluentProducer

        return ConfluentProducer(connection, identity, seconds)
    from monitor.kafka.python.producer import PythonProducer

    return PythonProducer(connection, identity, seconds)
