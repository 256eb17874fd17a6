"""A Kafka of several nodes, each with a second way in through a proxy, so that the network between can be broken.

The nodes tell clients of the listener `PROXIED` to come through `proxy_ports`; what stands there is the test's affair
(see `tests.faults.proxy`). Clients of the plain listener, such as the test itself, are not touched by it.
"""

from __future__ import annotations

from pathlib import Path

from kafka import KafkaAdminClient

from tests.kafka.broker import Broker, free_ports
from tests.kafka.place import Place


class Cluster(Broker):
    """Nodes that are all alive again after `mend`.

    Attributes:
        inner_ports: where each node listens for what comes through its proxy.
        proxy_ports: where clients look for each node on the listener `PROXIED`.
        proxied_bootstrap: those addresses.
        logs: each node's folder of logs, once it was started (not of nodes in containers, whose folders are their own).
    """

    def __init__(self, nodes: int = 3, where: Place | None = None) -> None:
        """Choose place and ports; starts nothing.

        Raises:
            NoKafkaError: if this machine has no Kafka.
        """
        super().__init__(nodes, where=where)
        self.logs: dict[int, Path] = {}
        self.patience = 300.0  # a start after a fault, beside daemons that want the processor, too
        ports = free_ports(2 * nodes)
        self.numbers = list(range(1, nodes + 1))
        self.inner_ports = dict(zip(self.numbers, ports[:nodes], strict=True))
        self.proxy_ports = dict(zip(self.numbers, ports[nodes:], strict=True))
        self.proxied_bootstrap = ",".join(f"127.0.0.1:{port}" for port in self.proxy_ports.values())

    def leader_of_controllers(self) -> int:
        """Return the node that is the active controller."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap.split(","))
        try:
            return int(admin.describe_metadata_quorum()["topics"][0]["partitions"][0]["leader_id"])
        finally:
            admin.close()

    def running(self, node: int) -> bool:
        """Whether a node's process is there."""
        return self._nodes[node].running()

    def launch(self, node: int) -> None:
        """Start a node that was killed, without waiting for it."""
        if not self.running(node):
            self._nodes[node].start()

    def keep(self, pid: int) -> None:
        """Let a process of the test end when the cluster does, however that ends."""
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.write(f"process {pid}\n")
            self._keeper.stdin.flush()

    def mend(self) -> None:
        """Let every node go on or start again, and wait until the cluster works."""
        self.resume()
        for node in self.numbers:
            self.launch(node)
        self._wait()

    def _settings(self, number: int, log: Path) -> dict[str, str]:
        """See `Broker`."""
        self.logs[number] = log
        found = super()._settings(number, log)
        found["listeners"] += f",PROXIED://127.0.0.1:{self.inner_ports[number]}"
        found["advertised.listeners"] += f",PROXIED://127.0.0.1:{self.proxy_ports[number]}"
        found["listener.security.protocol.map"] += ",PROXIED:PLAINTEXT"
        return found
