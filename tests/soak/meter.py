"""How long the answers take, and whether they are the right ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Final

from tests.faults.chains import TIME_OUT, Tally
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
        """Answers that never came, or too late."""
        self.errors = 0
        self._seconds: dict[str, list[float]] = {}

    async def timed(self, kind: str, request: Awaitable[Answer | None]) -> Answer | None:
        """Wait for the answer to a request."""
        loop = asyncio.get_running_loop()
        self.requests[kind] += 1
        began = loop.time()
        answer = await request
        seconds = loop.time() - began
        # A client of a chain has given up by then, and sent its request again.
        if answer is None or seconds > TIME_OUT:
            self.unanswered += 1
        if answer is None:
            return None
        for name in ("all", kind):
            self._seconds.setdefault(name, []).append(seconds)
        if answer.status >= 500:
            self.errors += 1
            self.wrong(kind, f"{answer.status}: {str(answer.body)[:200]}")
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
        """Remark an answer that is not as promised; the same one only once, to leave room for others."""
        remark = f"{kind}: {what}"
        if remark not in self.tally.remarks:
            self.tally.remark(remark)

    def read(self) -> dict[str, Latency]:
        """Return the percentiles since the last reading."""
        seconds, self._seconds = self._seconds, {}
        return {kind: Latency.of(times) for kind, times in seconds.items()}
