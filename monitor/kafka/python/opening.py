"""Opening a transaction while its messages are still being made, so that they need not wait for it.

The first transaction protocol asks the coordinator for each partition before a message may be sent there. Once windows
are scored a commit is certain, and its partitions are most likely those of the last commits: so they can be asked for
while alerts are decided and written.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from kafka import TopicPartition

_LATELY = 10.0  # seconds; where nothing was published for longer, nothing will be, most likely


class Opening:
    """Opens the transactions of one producer.

    An open transaction without messages holds no reader up, but it must not be left open: after the timeout of
    transactions the broker aborts it, and takes the producer's epoch away.
    """

    def __init__(self, producer: Any) -> None:  # noqa: ANN401 - the client has no types
        """Begin with no transaction open."""
        self._producer = producer
        self._since: float | None = None
        self._lately: dict[TopicPartition, float] = {}

    @property
    def age(self) -> float:
        """Seconds since the transaction was opened, 0 if none is open."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def begin(self, *, ahead: bool = False) -> None:
        """Open a transaction; one that is open stays.

        Args:
            ahead: ask for the partitions of the last commits at once, and do not wait for the answer.

        Raises:
            KafkaError: if the producer is of no use any more.
        """
        if self._since is not None:
            return
        self._producer.begin_transaction()
        self._since = now = time.monotonic()
        self._lately = {place: then for place, then in self._lately.items() if now - then <= _LATELY}
        if ahead and self._lately:
            manager = self._producer._transaction_manager  # noqa: SLF001 - there is no public way
            for place in self._lately:
                manager.maybe_add_partition_to_transaction(place)
            self._producer._sender.wakeup()  # noqa: SLF001 - as the client does

    def ended(self, places: Iterable[TopicPartition]) -> None:
        """Take note that the transaction was committed, and where it had messages."""
        self._since = None
        self._lately.update(dict.fromkeys(places, time.monotonic()))
