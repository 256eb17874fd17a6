"""A real Apache Kafka for tests, of one node or several, that can be killed, frozen and started again.

`with Broker() as broker:` gives a cluster with its own ports and folders; `broker.bootstrap` is its address. Beside
the plain listener each node has one with SASL (`broker.sasl_bootstrap`, mechanisms PLAIN and SCRAM-SHA-512, user and
password `tidegauge`). Time-outs are set low, so that tests of rebalances and fencing take seconds.
"""

from __future__ import annotations

import base64
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

from tests.kafka import keeper, place
from tests.kafka.node import DockerNode, JavaNode, Node

if TYPE_CHECKING:
    from types import TracebackType

USER = PASSWORD = "tidegauge"  # noqa: S105 - of a broker that listens on this machine alone and lives for a test run
START_SECONDS = 90.0
_LOGIN = "org.apache.kafka.common.security.{module} required {options};"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one node."""

    plain: int
    sasl: int
    controller: int


class BrokerError(Exception):
    """The cluster did not do what was asked; the message holds the end of what a node printed."""


class Broker:
    """A Kafka cluster that belongs to the test that made it.

    Args:
        nodes: number of nodes; each is broker and controller.
        properties: server properties on top of ours, the same for each node.
        where: where to take Kafka from; the first place that works if None.

    Attributes:
        bootstrap: addresses of the plain listeners, `host:port,…`; the same after a restart.
        sasl_bootstrap: addresses of the SASL listeners; empty for a Kafka that somebody else runs.
        patience: how many seconds a start may take.
        owned: whether this object started the cluster; another one cannot be stopped, killed or frozen.
    """

    def __init__(
        self, nodes: int = 1, properties: Mapping[str, str] | None = None, where: place.Place | None = None
    ) -> None:
        """Choose place and ports; starts nothing.

        Raises:
            NoKafkaError: if this machine has no Kafka.
        """
        self._where = where or place.find()
        self._properties = dict(properties or {})
        self._nodes: dict[int, Node] = {}
        self._keeper: subprocess.Popen[str] | None = None
        self.patience = START_SECONDS
        self.owned = not isinstance(self._where, place.External)
        if isinstance(self._where, place.External):
            self.bootstrap, self.sasl_bootstrap = self._where.bootstrap, ""
            return
        free = free_ports(3 * nodes)
        self._ports = {i + 1: Ports(*free[3 * i : 3 * i + 3]) for i in range(nodes)}
        self.bootstrap = ",".join(f"127.0.0.1:{ports.plain}" for ports in self._ports.values())
        self.sasl_bootstrap = ",".join(f"127.0.0.1:{ports.sasl}" for ports in self._ports.values())

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and remove what it wrote."""
        self.stop()

    def start(self) -> Self:
        """Start the cluster and wait until topics, groups and transactions work.

        Raises:
            BrokerError: if it does not within 90 s.
        """
        if self.owned and not self._nodes:
            self._create()
            try:
                for node in self._nodes.values():
                    node.start()
                self._wait()
            except BaseException:
                self.stop()
                raise
        elif not self.owned:
            self._wait()
        return self

    def stop(self, node: int | None = None) -> None:
        """Stop one node in an orderly way, or all of them and remove what they wrote."""
        if node is not None:
            self._of(node)[0].stop(15)
            return
        if self._keeper is None:
            return
        for each in self._nodes.values():
            each.kill()  # nobody reads its folder again
        self._nodes = {}
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(60)
        self._keeper = None

    def kill(self, node: int | None = None) -> None:
        """End one node, or all of them, at once (SIGKILL)."""
        for each in self._of(node):
            each.kill()

    def pause(self, node: int | None = None) -> None:
        """Freeze one node, or all of them (SIGSTOP)."""
        for each in self._of(node):
            each.pause()

    def resume(self, node: int | None = None) -> None:
        """Let frozen nodes go on."""
        for each in self._of(node):
            each.resume()

    def restart(self, node: int | None = None) -> None:
        """Start nodes that were killed, or stop and start those that run; waits until the cluster works again."""
        chosen = self._of(node)
        for each in chosen:
            each.stop(15)
        for each in chosen:
            each.start()
        self._wait()

    @property
    def pids(self) -> list[int]:
        """The process ids of the nodes that run in a JVM of this machine."""
        return [node.pid for node in self._nodes.values() if isinstance(node, JavaNode) and node.pid is not None]

    def _of(self, node: int | None) -> list[Node]:
        if not self._nodes:
            message = "this Kafka was not started here, or is stopped: it cannot be stopped, killed or frozen"
            raise BrokerError(message)
        return list(self._nodes.values()) if node is None else [self._nodes[node]]

    def _create(self) -> None:
        """Make folders and nodes, and the keeper that clears them up."""
        root = Path(tempfile.mkdtemp(prefix="tidegauge-kafka-"))
        command = [sys.executable, "-I", "-S", keeper.__file__, str(root)]
        self._keeper = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
        told = self._keeper.stdin
        assert told is not None
        # A cluster id is 16 bytes in base64; a leading dash would be read as an option.
        cluster = "T" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        options = ["-t", cluster, "--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
        for number in self._ports:
            folder = root / str(number)
            folder.mkdir()
            settings = {**self._settings(number, folder / "log"), **self._properties}
            if isinstance(self._where, place.Docker):
                name = f"tidegauge-kafka-{os.getpid()}-{number}-{self._ports[number].plain}"
                self._nodes[number] = DockerNode(self._where, settings, options, name, told)
            else:
                assert isinstance(self._where, place.Java)
                self._nodes[number] = JavaNode(self._where, settings, options, folder, told)

    def _settings(self, number: int, log: Path) -> dict[str, str]:
        """Return the server properties of one node, before those that were asked for."""
        return _settings(number, self._ports, log)

    def _wait(self) -> None:
        """Wait until every node is in the metadata and groups and transactions have their coordinators."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                if self._listening():
                    _use(self.bootstrap, max(1, len(self._nodes)))
                    return
            except (KafkaError, OSError) as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                problem = "it does not listen"
            dead = [number for number, node in self._nodes.items() if not node.running()]
            if dead or time.monotonic() > deadline:
                what = f"node {dead[0]} ended" if dead else f"not ready after {self.patience:.0f} s ({problem})"
                said = self._nodes[dead[0] if dead else min(self._nodes)].said() if self._nodes else ""
                message = f"Kafka at {self.bootstrap}: {what}\n{said}"
                raise BrokerError(message)
            time.sleep(0.05)

    def _listening(self) -> bool:
        """Return whether every address accepts connections; much cheaper to try than a client."""
        for address in self.bootstrap.split(","):
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
            except OSError:
                return False
        return True


def _use(bootstrap: str, nodes: int) -> None:
    """Use a group and a transaction once, which makes Kafka create the topics behind them."""
    servers = bootstrap.split(",")
    admin = KafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=15_000)
    try:
        while len(admin.describe_cluster()["brokers"]) < nodes:
            time.sleep(0.1)
        admin.list_group_offsets({"tests-ready": None})
    finally:
        admin.close()
    producer = KafkaProducer(bootstrap_servers=servers, transactional_id="tests-ready", max_block_ms=30_000)
    try:
        producer.init_transactions()
    finally:
        producer.close(timeout=5)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on.

    They lie below the range that the system gives to outgoing connections. A port of that range could be taken by a
    client while its broker is down, or a client that tries to reconnect could even meet itself there.
    """
    chosen: list[int] = []
    draw = random.SystemRandom()
    while len(chosen) < count:
        port = draw.randrange(20_000, 32_000)
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in chosen:
            chosen.append(port)
    return chosen


def _settings(number: int, ports: Mapping[int, Ports], log: Path) -> dict[str, str]:
    """Return the server properties of one node."""
    copies, least = ("3", "2") if len(ports) >= 3 else ("1", "1")
    listeners = f"PLAINTEXT://127.0.0.1:{ports[number].plain},SASL_PLAINTEXT://127.0.0.1:{ports[number].sasl}"
    login = f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}"'
    sasl = "listener.name.sasl_plaintext."
    return {
        "process.roles": "broker,controller",
        "node.id": str(number),
        "controller.quorum.voters": ",".join(f"{i}@127.0.0.1:{each.controller}" for i, each in ports.items()),
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{ports[number].controller}",
        "advertised.listeners": listeners,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        f"{sasl}plain.sasl.jaas.config": _LOGIN.format(module="plain.PlainLoginModule", options=login),
        f"{sasl}scram-sha-512.sasl.jaas.config": _LOGIN.format(module="scram.ScramLoginModule", options=""),
        "log.dirs": str(log),
        "default.replication.factor": copies,
        "min.insync.replicas": least,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": least,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": least,
        "auto.create.topics.enable": "false",
        # Fewer partitions than the 50 of production start faster.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.num.partitions": "4",
        # Seconds instead of tens of seconds, so that tests can wait for rebalances, fencing and time-outs.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "broker.session.timeout.ms": "4000",
        # The cleaner would take 128 MB of heap, and sleep for 15 s between two looks at compacted topics.
        "log.cleaner.dedupe.buffer.size": "16777216",
        "log.cleaner.backoff.ms": "1000",
    }
