"""A TCP proxy that loses answers after the server has sent them, so that the refresh has happened."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress


class Proxy:
    """Passes requests on, and drops, cuts off or delays some of the answers."""

    def __init__(
        self, targets: Sequence[int], rng: random.Random, *, dropped: float, delayed: float, delay: float
    ) -> None:
        self._targets = targets
        self._rng = rng
        self.dropped = dropped
        self.delayed = delayed
        self._delay = delay
        self._servers: list[asyncio.Server] = []
        self.ports: list[int] = []

    async def start(self) -> None:
        for target in self._targets:

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int = target
            ) -> None:
                await self._serve(reader, writer, target)

            server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        answer = b""
        with suppress(OSError, asyncio.IncompleteReadError):
            answer = await _ask(target, await _request(reader))
        fate = self._rng.random()
        if answer and fate < self.dropped:
            # Half of them are cut off somewhere, so that a client sees a status line but no token.
            answer = answer[: self._rng.randrange(len(answer))] if self._rng.random() < 0.5 else b""
        elif answer and fate < self.dropped + self.delayed:
            await asyncio.sleep(self._delay)
        with suppress(OSError):
            writer.write(answer)
            await writer.drain()
        writer.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    _, has_content, rest = head.lower().partition(b"content-length: ")
    length = int(rest.partition(b"\r\n")[0]) if has_content else 0
    return head + await reader.readexactly(length)


async def _ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read(-1)
    finally:
        writer.transport.abort()
