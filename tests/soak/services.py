"""Everything else that sends requests: machines, resource servers, monitoring, and the operator's browser."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from tests.faults import wire
from tests.faults.stage import Stage
from tests.faults.wire import Answer
from tests.soak.meter import Meter


@dataclass
class Services:
    stage: Stage
    meter: Meter
    secret: str
    """That of the machine, which may introspect the tokens of all clients."""
    fresh: deque[str] = field(default_factory=lambda: deque(maxlen=10))
    """Access tokens that were issued a moment ago, of sessions that nobody ends."""

    @property
    def port(self) -> int:
        return self.stage.site.ports[0]

    async def use_tokens(self) -> None:
        """Do what a resource server does with an access token."""
        while not self.stage.is_over:
            if self.fresh:
                token = self.fresh[-1]
                await self._with_token("protected", "/protected", token)
                await self._with_token("userinfo", "/userinfo", token)
                await self._introspect(token, is_active=True)
            await self.stage.pause(self.stage.rng.uniform(0.2, 0.6))

    async def be_a_machine(self) -> None:
        """Get a token for itself, and use it."""
        while not self.stage.is_over:
            request = wire.post(self.port, "/oauth2/token", {"grant_type": "client_credentials"}, self._basic)
            answer = await self.meter.expect("client credentials", 200, request)
            if answer is not None:
                token = answer.body["access_token"]
                await self._with_token("protected", "/protected", token)
                await self._introspect(token, is_active=True)
                await self._introspect(token[:-4] + "AAAA", is_active=False)
            await self.stage.pause(self.stage.rng.uniform(0.5, 1.5))

    async def watch(self) -> None:
        """Ask what load balancers, clients and resource servers ask."""
        well_known = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
        for path in cycle(well_known):
            if self.stage.is_over:
                return
            await self._get("health", "/oauth2/health")
            await self._get("discovery", path)
            await self._get("jwks", "/oauth2/jwks")
            await self.stage.pause(self.stage.rng.uniform(0.5, 1.5))

    async def administer(self, pages: Mapping[str, str], cookie: str) -> None:
        """Look at one page of the admin after the other."""
        for name, path in cycle(pages.items()):
            if self.stage.is_over:
                return
            answer = await self.meter.timed(
                "admin", wire.get(self.port, path.replace(" ", "+"), {"Cookie": cookie})
            )
            if answer is not None and answer.status < 500 and answer.status != 200:
                self.meter.wrong("admin", f"{name}: {answer.status}")
            await self.stage.pause(self.stage.rng.uniform(1.0, 2.0))

    @property
    def _basic(self) -> tuple[str, str]:
        return "machine", self.secret

    async def _get(self, kind: str, path: str, headers: Mapping[str, str] | None = None) -> Answer | None:
        return await self.meter.expect(kind, 200, wire.get(self.port, path, headers))

    async def _with_token(self, kind: str, path: str, token: str) -> None:
        await self._get(kind, path, {"Authorization": f"Bearer {token}"})

    async def _introspect(self, token: str, *, is_active: bool) -> None:
        request = wire.post(self.port, "/oauth2/introspect", {"token": token}, self._basic)
        answer = await self.meter.expect("introspect", 200, request)
        found: Any = None if answer is None else answer.body.get("active")
        if answer is not None and found is not is_active:
            self.meter.wrong("introspect", f"active is {found}")
