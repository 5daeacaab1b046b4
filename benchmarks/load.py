"""The load generator: N connections that refresh sessions, each with the token of the last answer.

    python -m benchmarks.load PORT TARGET CONNECTIONS SECONDS

It is a process of its own and little more than sockets, so it takes far less CPU than what it measures. How
much it took is part of what it prints. TARGET is a file that `benchmarks.seed` wrote. At the end it is
written again with the current tokens, so that the next run can continue with them.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_SECONDS_TO_ANSWER = 60.0


class WrongAnswer(Exception):
    """An answer that was not 200 or had no new refresh token: a measurement with it would be worthless."""


@dataclass
class Chain:
    """One connection and the sessions that are refreshed on it: each in turn, one request at a time."""

    port: int
    head: bytes
    prefix: bytes
    suffix: bytes
    pattern: re.Pattern[bytes]
    tokens: list[bytes]
    """The current token of each session."""
    turn: int = 0
    socket: socket.socket | None = None
    sent_at: float = 0.0
    received: bytes = b""
    latencies: list[float] = field(default_factory=list)

    def send(self) -> socket.socket:
        """Send the next request, on a new connection if the server closed the last one."""
        body = self.prefix + self.tokens[self.turn] + self.suffix
        request = self.head + b"%d\r\n\r\n%b" % (len(body), body)
        self.received = b""
        self.sent_at = time.perf_counter()
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(request)
        return self.socket

    def receive(self) -> bool:
        """Read what has arrived; tell whether the answer is complete, and keep its token."""
        assert self.socket is not None
        chunk = self.socket.recv(65536)
        self.received += chunk
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not chunk and not found:
            raise WrongAnswer("the server closed the connection without an answer")
        if not found or not _is_complete(head, body):
            return False
        self.latencies.append(time.perf_counter() - self.sent_at)
        match = self.pattern.search(body)
        if not head.startswith(b"HTTP/1.1 200") or match is None or match[1] == self.tokens[self.turn]:
            raise WrongAnswer(self.received[:2000].decode(errors="replace"))
        self.tokens[self.turn] = match[1]
        self.turn = (self.turn + 1) % len(self.tokens)
        return True

    def close_if_told(self) -> None:
        """Close the connection if the server announced that it would close it."""
        if self.socket is not None and _CLOSES.search(self.received.partition(b"\r\n\r\n")[0]):
            self.socket.close()
            self.socket = None


def _is_complete(head: bytes, body: bytes) -> bool:
    length = _LENGTH.search(head)
    return body.endswith(b"0\r\n\r\n") if length is None else len(body) >= int(length[1])


def run(port: int, target: dict[str, Any], connections: int, seconds: float) -> dict[str, Any]:
    """Refresh for so many seconds; return the measurements, and leave the current tokens in ``target``.

    Raises:
        WrongAnswer: an answer was not that of a successful rotation.
    """
    head = (
        f"POST {target['path']} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: benchmark\r\n"
        f"Content-Type: {target['content_type']}\r\nContent-Length: "
    ).encode()
    chains = [
        Chain(
            port,
            head,
            target["prefix"].encode(),
            target["suffix"].encode(),
            re.compile(target["token_pattern"].encode()),
            [token.encode() for token in target["tokens"][number::connections]],
        )
        for number in range(connections)
    ]
    started_at = time.perf_counter()
    cpu = time.process_time()
    by_number: dict[int, Chain] = {}
    poll = select.epoll()
    for chain in chains:
        number = chain.send().fileno()
        by_number[number] = chain
        poll.register(number, select.EPOLLIN)
    while by_number:
        events = poll.poll(_SECONDS_TO_ANSWER)
        if not events:
            raise WrongAnswer(f"no answer within {_SECONDS_TO_ANSWER:g} seconds")
        for number, _ in events:
            chain = by_number[number]
            if not chain.receive():
                continue
            chain.close_if_told()
            if time.perf_counter() - started_at >= seconds:
                del by_number[number]
                if chain.socket is not None:
                    poll.unregister(number)
                continue
            if chain.socket is None:
                # Closing the socket removed its number from the poll.
                del by_number[number]
                number = chain.send().fileno()
                by_number[number] = chain
                poll.register(number, select.EPOLLIN)
            else:
                chain.send()
    elapsed = time.perf_counter() - started_at
    cpu = time.process_time() - cpu
    for number, chain in enumerate(chains):
        target["tokens"][number::connections] = [token.decode() for token in chain.tokens]
    latencies = sorted(latency for chain in chains for latency in chain.latencies)
    return {
        "requests": len(latencies),
        "elapsed": elapsed,
        "cpu": cpu,
        "p50": _quantile(latencies, 0.50),
        "p95": _quantile(latencies, 0.95),
        "p99": _quantile(latencies, 0.99),
        "longest": latencies[-1],
    }


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main(port: str, path: str, connections: str, seconds: str) -> None:
    """Run, print the result as JSON, and keep the tokens for the next run."""
    file = Path(path)
    target = json.loads(file.read_text())
    result = run(int(port), target, int(connections), float(seconds))
    file.write_text(json.dumps(target))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
