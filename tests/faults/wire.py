"""A minimal HTTP client with little patience: one request per connection, and a whole answer or none."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


async def post(
    port: int, path: str, form: Mapping[str, str], basic: tuple[str, str] | None = None
) -> Answer | None:
    """Send a form; None if no complete answer came."""
    content = urlencode(form).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(content)}",
        # As a proxy adds it.
        f"X-Request-Start: t={time.time():.3f}",
        "Connection: close",
    ]
    if basic is not None:
        lines.append("Authorization: Basic " + b64encode(":".join(basic).encode()).decode())
    return await _exchange(port, "\r\n".join([*lines, "", ""]).encode() + content)


async def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> Answer | None:
    """Fetch a document; None if no complete answer came."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return await _exchange(port, "\r\n".join([*lines, "", ""]).encode())


async def _exchange(port: int, request: bytes) -> Answer | None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    try:
        writer.write(request)
        received = await reader.read(-1)
    except OSError:
        return None
    finally:
        writer.transport.abort()
    return parse(received)


def parse(received: bytes) -> Answer | None:
    """Parse an answer; None if it was cut off."""
    head, end, content = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if not end or len(content) != int(headers.get("content-length", -1)):
        return None
    try:
        body = json.loads(content)
    except ValueError:
        body = content.decode("latin-1")
    return Answer(int(status.split()[1]), headers, body)
