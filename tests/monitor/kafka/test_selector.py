"""The client's selector."""

from __future__ import annotations

import selectors
import socket

import pytest

from monitor.kafka.selector import Selector


def test_finds_what_is_registered_and_misses_the_rest() -> None:
    """If it failed, the client would wait on sockets that are not watched, or watch them twice."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Selector() as selector:
        with pytest.raises(KeyError):
            selector.get_key(ours)
        key = selector.register(ours, selectors.EVENT_READ, "data")
        assert selector.get_key(ours) == key == selector.get_key(ours.fileno())
        theirs.send(b"x")
        assert [(found.fileobj, events) for found, events in selector.select(1)] == [(ours, selectors.EVENT_READ)]
        selector.unregister(ours)
        with pytest.raises(KeyError):
            selector.get_key(ours)


def test_knows_a_registered_socket_that_was_closed() -> None:
    """If it failed, the client could not take closed sockets off its list."""
    ours, theirs = socket.socketpair()
    with theirs, Selector() as selector:
        key = selector.register(ours, selectors.EVENT_READ)
        ours.close()
        assert selector.get_key(ours) == key
