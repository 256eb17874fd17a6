"""The places of `points` in a daemon with `source.client: confluent`: on our side of librdkafka, which is one library.

There is no moment between the flush and the commit that can be seen from outside, and no answer of a broker that could
be made up: where messages are to be given up, librdkafka is told to throw away those that it has not sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monitor.kafka.confluent.group import ConfluentGroup
from monitor.kafka.confluent.producer import ConfluentProducer

Hook = Callable[[str, Callable[..., Any]], Callable[..., Any]]


def install(before: Hook, after: Hook, passing: Callable[[str], Any]) -> None:
    """Put the hooks in.

    Args:
        before: returns a call that passes a place first.
        after: returns a call that passes a place at its end.
        passing: notes that a place is passed, and returns the step that is due, if one is.
    """
    own: Any = ConfluentProducer
    own._initialise = before("in_init", own._initialise)
    own._begin = after("after_begin", own._begin)
    own._send = after("after_send", own._send)
    own._store = before("after_flush", own._store)
    own._end = before("after_offsets", before("in_commit", own._end))
    group: Any = ConfluentGroup
    group.poll = after("after_poll", group.poll)
    send = own._send

    def sent(self: Any, *arguments: Any) -> None:
        send(self, *arguments)
        if passing("drain") is not None:
            self._client.purge(in_queue=True, in_flight=False)

    own._send = sent
