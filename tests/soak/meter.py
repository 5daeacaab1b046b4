"""How long the answers take, and whether they are the right ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Final

from tests.faults.chains import Tally
from tests.faults.wire import Answer
from tests.soak.records import Latency

KINDS: Final = (
    *("refresh", "exchange", "client credentials", "revoke", "introspect", "userinfo", "protected"),
    *("authorize", "logout", "jwks", "discovery", "health", "admin"),
)


class Meter:
    """Counts requests and measures them, by kind."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.requests: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self.unanswered = 0
        self.errors = 0
        self._seconds: dict[str, list[float]] = {}

    async def timed(self, kind: str, request: Awaitable[Answer | None]) -> Answer | None:
        """Wait for the answer to a request."""
        loop = asyncio.get_running_loop()
        self.requests[kind] += 1
        began = loop.time()
        answer = await request
        if answer is None:
            self.unanswered += 1
            return None
        for name in ("all", kind):
            self._seconds.setdefault(name, []).append(loop.time() - began)
        if answer.status >= 500:
            self.errors += 1
            self.tally.remark(f"{kind} was answered {answer.status} {str(answer.body)[:200]}")
        return answer

    async def expect(self, kind: str, status: int, request: Awaitable[Answer | None]) -> Answer | None:
        """Return the answer if it has this status, and else None; what is wrong is remarked."""
        answer = await self.timed(kind, request)
        if answer is None or answer.status == status:
            return answer
        if answer.status < 500:
            self.wrong(kind, f"{answer.status}, not {status}: {str(answer.body)[:200]}")
        return None

    def wrong(self, kind: str, what: str) -> None:
        """Remark an answer that is not as promised."""
        self.tally.remark(f"{kind}: {what}")

    def read(self) -> dict[str, Latency]:
        """Return the percentiles since the last reading."""
        seconds, self._seconds = self._seconds, {}
        return {kind: Latency.of(times) for kind, times in seconds.items()}
