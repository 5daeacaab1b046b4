"""People with applications: some stay for the whole run; others sign in, do a few things and leave."""

from __future__ import annotations

import asyncio
from itertools import cycle
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from django_ciam_token.crypto.authorization_code_string import challenge_of
from tests.faults import wire
from tests.faults.chains import REDIRECT_URI, VERIFIER, Chain, Lost, Service
from tests.faults.stage import Stage
from tests.faults.wire import Answer
from tests.soak.meter import Meter
from tests.soak.site import Operator

ENDINGS: Final = ("revoked", "access token revoked", "reused", "signed out", "left")


class TimedChain(Chain):
    """A chain of refreshes whose answers are measured, with a pause between two of them."""

    def __init__(self, meter: Meter, service: Service, client_id: str, token: str) -> None:
        super().__init__(service, client_id, token)
        self.meter = meter
        self.last: Any = {}
        """The tokens of the last answer."""

    async def step(self) -> None:
        await super().step()
        await asyncio.sleep(self.service.rng.uniform(0.5, 1.5))

    async def present(self, token: str) -> list[Answer]:
        answers = await super().present(token)
        if answers[0].status == 200:
            self.last = answers[0].body
        return answers

    async def _request(self, port: int, token: str) -> Answer | None:
        kind = "refresh" if token.startswith("ciam_rt1_") else "exchange"
        return await self.meter.timed(kind, super()._request(port, token))


class Person:
    """Somebody with a browser, who is signed in to the site."""

    def __init__(self, stage: Stage, meter: Meter, operator: Operator, name: str, cookie: str) -> None:
        self.stage = stage
        self.meter = meter
        self.operator = operator
        self.name = name
        self.cookie = cookie

    @property
    def port(self) -> int:
        return self.stage.site.ports[0]

    async def visit(self) -> None:
        """Sign in to applications again and again, and end each session in one of the possible ways."""
        for client_id in cycle(("portal", "app")):
            if self.stage.is_over:
                return
            chain = await self._session(client_id)
            if chain is not None:
                await self._end(chain, self.stage.rng.choice(ENDINGS))

    async def forget_password(self) -> None:
        """Change the password again and again: the session with the old one must have ended."""
        while not self.stage.is_over:
            chain = await self._session("portal")
            if chain is not None:
                self.cookie = await self.operator(f"password {self.name}")
                self.stage.strikes += 1
                await self._require_ended(chain, "the password was changed")

    async def _session(self, client_id: str) -> TimedChain | None:
        """Begin a session and refresh a few times; None if that failed, or the run is over."""
        code = await self._code(client_id)
        if code is None:
            await asyncio.sleep(1)
            return None
        chain = TimedChain(self.meter, self.stage.service, client_id, code)
        for _ in range(self.stage.rng.randrange(4, 7)):
            if chain.is_lost or self.stage.is_over:
                return None
            await chain.step()
        return None if chain.is_lost else chain

    async def _code(self, client_id: str) -> str | None:
        """Get a code at the authorization endpoint."""
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid profile",
            "state": self.name,
            "nonce": "nonce",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        }
        answer = await self._browse("authorize", f"/oauth2/authorize?{urlencode(query)}", 302)
        if answer is None:
            return None
        found = parse_qs(urlsplit(answer.headers["location"]).query)
        if "code" not in found:
            self.meter.wrong("authorize", f"sent to {answer.headers['location']}")
            return None
        return found["code"][0]

    async def _end(self, chain: TimedChain, ending: str) -> None:
        access_token = chain.last["access_token"]
        if ending == "revoked":
            await self._revoke(chain, chain.tokens[-1])
            await self._require_ended(chain, ending)
        elif ending == "access token revoked":
            await self._revoke(chain, access_token)
        elif ending == "reused":
            await self._reuse(chain)
        elif ending == "signed out":
            query = urlencode(
                {"id_token_hint": chain.last["id_token"], "post_logout_redirect_uri": REDIRECT_URI}
            )
            await self._browse("logout", f"/oauth2/logout?{query}", 302)
            self.cookie = await self.operator(f"sign_in {self.name}")
            await self._require_ended(chain, ending)
        if ending != "left":
            headers = {"Authorization": f"Bearer {access_token}"}
            await self.meter.expect("protected", 401, wire.get(self.port, "/protected", headers))

    async def _reuse(self, chain: TimedChain) -> None:
        try:
            await chain.reuse()
        except Lost as reason:
            self.stage.tally.remark(f"a reuse: {reason}")

    async def _revoke(self, chain: TimedChain, token: str) -> None:
        is_public = chain.client_id == "app"
        basic = None if is_public else (chain.client_id, self.stage.service.secret)
        form = {"token": token} | ({"client_id": chain.client_id} if is_public else {})
        await self.meter.expect("revoke", 200, wire.post(self.port, "/oauth2/revoke", form, basic))

    async def _require_ended(self, chain: TimedChain, why: str) -> None:
        """Refresh with the current token, which must be refused."""
        try:
            answers = await chain.present(chain.tokens[-1])
        except Lost as reason:
            self.stage.tally.remark(f"after its end ({why}): {reason}")
            return
        for answer in answers:
            if answer.status == 200:
                self.stage.tally.wrongly_accepted += 1
            if (answer.status, answer.body) != (400, {"error": "invalid_grant"}):
                self.meter.wrong("refresh", f"after its end ({why}): {answer.status}")

    async def _browse(self, kind: str, path: str, status: int) -> Answer | None:
        return await self.meter.expect(kind, status, wire.get(self.port, path, {"Cookie": self.cookie}))
