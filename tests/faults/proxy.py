"""A network that can be broken: a proxy before each node, which knows enough of Kafka's protocol to lose one answer.

Every frame is a length and, in requests, the number of the API, its version and a correlation id; answers carry the
same id. So single kinds of requests and answers can be lost, held back or sent twice.
"""

from __future__ import annotations

import asyncio
import random
import struct
import threading
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

PRODUCE, ADD_PARTITIONS, ADD_OFFSETS, END, OFFSETS = 0, 24, 25, 26, 28
"""APIs of a transaction: its messages, the partitions and the group that it touches, its end, its offsets."""


@dataclass
class Weather:
    """What the network does to one node's connections at the moment.

    Attributes:
        delay: seconds that each frame is held back, at most.
        silent: nothing gets through, and nobody is told.
        way: in which direction: `to` the node, `from` it, or `both`.
        whom: the client id for which that holds; empty: all of them.
        refuse: new connections are closed at once.
        lose: the answers to so many requests of an API are lost, and the connection with them.
        hold: so many requests of an API are held back for so long; the client's connection ends meanwhile.
        twice: so many requests of an API arrive twice.
    """

    delay: float = 0.0
    silent: bool = False
    way: str = "both"
    whom: str = ""
    refuse: bool = False
    lose: dict[int, int] = field(default_factory=dict)
    hold: dict[int, int] = field(default_factory=dict)
    held: float = 3.0
    twice: dict[int, int] = field(default_factory=dict)


def _due(table: dict[int, int], api: int) -> bool:
    """Whether it is this request's turn; counts down."""
    if table.get(api, 0) <= 0:
        return False
    table[api] -= 1
    return True


class _Link:
    """One client's connection."""

    def __init__(self, proxy: Proxy, client: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.proxy = proxy
        self.reader, self.writer = client
        self.asked: dict[int, int] = {}  # correlation id → API
        self.swallow: dict[int, int] = {}  # correlation id → answers that the client must not see
        self.up: asyncio.StreamWriter | None = None
        self.name = ""  # the client's id, once it has asked for something

    async def run(self) -> None:
        if self.proxy.weather.refuse:
            self.reset()
            return
        await self._silence("to")
        try:
            back, self.up = await asyncio.open_connection("127.0.0.1", self.proxy.target)
        except OSError:
            self.reset()
            return
        tasks = [asyncio.create_task(self._requests(self.up)), asyncio.create_task(self._answers(back))]
        _, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.reset()

    def reset(self) -> None:
        """End it, without a farewell."""
        for writer in (self.writer, self.up):
            if writer is not None:
                writer.transport.abort()

    async def _requests(self, up: asyncio.StreamWriter) -> None:
        while (frame := await _frame(self.reader)) is not None:
            api, _, correlation, length = struct.unpack(">hhih", frame[4:14])
            self.name = frame[14 : 14 + max(0, length)].decode(errors="replace")
            await self._weather("to")
            self.asked[correlation] = api
            weather = self.proxy.weather
            if _due(weather.hold, api):
                # The client is cut off; its request arrives all the same, when nobody expects it any more.
                self.proxy.keep(_send_later(up, frame, weather.held))
                self.up = None
                return
            if _due(weather.twice, api):
                self.swallow[correlation] = 1
                up.write(frame)
            up.write(frame)
            await up.drain()

    async def _answers(self, back: asyncio.StreamReader) -> None:
        while (frame := await _frame(back)) is not None:
            await self._weather("from")
            (correlation,) = struct.unpack(">i", frame[4:8])
            if self.swallow.get(correlation, 0) > 0:
                self.swallow[correlation] -= 1
                continue
            if _due(self.proxy.weather.lose, self.asked.pop(correlation, -1)):
                return
            self.writer.write(frame)
            await self.writer.drain()

    async def _weather(self, way: str) -> None:
        weather = self.proxy.weather
        if weather.delay:
            await asyncio.sleep(random.SystemRandom().uniform(0, weather.delay))
        await self._silence(way)

    async def _silence(self, way: str) -> None:
        """Wait while nothing gets through."""
        while self._silent(way):  # noqa: ASYNC110 - the weather is made by another thread
            await asyncio.sleep(0.05)

    def _silent(self, way: str) -> bool:
        weather = self.proxy.weather
        return weather.silent and weather.way in {"both", way} and weather.whom in {"", self.name}


async def _frame(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next frame with its length, None at the end."""
    try:
        head = await reader.readexactly(4)
        return head + await reader.readexactly(struct.unpack(">i", head)[0])
    except (asyncio.IncompleteReadError, OSError):
        return None


async def _send_later(writer: asyncio.StreamWriter, frame: bytes, seconds: float) -> None:
    await asyncio.sleep(seconds)
    writer.write(frame)
    try:
        await writer.drain()
        await asyncio.sleep(2)  # for the node to do it
    except OSError:
        pass
    writer.transport.abort()


class Proxy:
    """The way to one node."""

    def __init__(self, port: int, target: int) -> None:
        """Name both ends."""
        self.port, self.target = port, target
        self.weather = Weather()
        self._links: set[_Link] = set()
        self._kept: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Listen."""
        await asyncio.start_server(self._client, "127.0.0.1", self.port)

    def keep(self, what: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself."""
        task = asyncio.ensure_future(what)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    def reset(self) -> None:
        """End all connections."""
        for link in list(self._links):
            link.reset()

    def close_half(self) -> None:
        """End the direction from the node to its clients alone."""
        for link in list(self._links):
            if link.writer.can_write_eof():
                link.writer.write_eof()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, (reader, writer))
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class Proxies:
    """A proxy for each node, in a thread of their own.

    Attributes:
        of: by node.
    """

    def __init__(self, ports: Mapping[int, int], targets: Mapping[int, int]) -> None:
        """Listen at `ports`, forward to `targets`."""
        self.of = {node: Proxy(port, targets[node]) for node, port in ports.items()}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        for proxy in self.of.values():
            self._do(proxy.serve())

    def reset(self, *nodes: int) -> None:
        """End the connections to some nodes, or to all."""
        for node in nodes or tuple(self.of):
            self._loop.call_soon_threadsafe(self.of[node].reset)

    def close_half(self, *nodes: int) -> None:
        """End one direction of the connections to some nodes, or to all."""
        for node in nodes or tuple(self.of):
            self._loop.call_soon_threadsafe(self.of[node].close_half)

    def fair(self) -> None:
        """Let everything through again."""
        for proxy in self.of.values():
            proxy.weather = Weather()

    def close(self) -> None:
        """Stop."""
        self.reset()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _do(self, what: Awaitable[None]) -> None:
        async def run() -> None:
            await what

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)
