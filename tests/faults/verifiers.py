"""Resource servers: each caches the JWK Set for its max-age, and must never see an unknown kid."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import jwt

from tests.faults import wire
from tests.faults.chains import Tally
from tests.faults.wire import Answer

_PAUSE_OF_THE_IMPATIENT: Final = 0.2


class Verifier:
    """Uses a JWK Set until it is too old, and then fetches it again."""

    def __init__(self, ports: list[int], tally: Tally) -> None:
        self._ports = ports
        self._tally = tally
        self._keys: dict[str, jwt.PyJWK] = {}

    @property
    def is_ready(self) -> bool:
        """Whether it has keys."""
        return bool(self._keys)

    async def run(self) -> None:
        """Run until cancelled."""
        turn = 0
        while True:
            turn += 1
            answer = await wire.get(self._ports[turn % len(self._ports)], "/oauth2/jwks")
            if answer is None or answer.status != 200:
                await asyncio.sleep(_PAUSE_OF_THE_IMPATIENT)
                continue
            self._keys = {key["kid"]: jwt.PyJWK(key) for key in answer.body["keys"]}
            max_age = re.search(r"max-age=(\d+)", answer.headers["cache-control"])
            assert max_age is not None
            await asyncio.sleep(int(max_age[1]))

    def verify(self, answer: Answer) -> None:
        """Verify a fresh access token with the cached keys."""
        token = answer.body["access_token"]
        kid = jwt.get_unverified_header(token)["kid"]
        if kid not in self._keys:
            self._tally.remark(f"a verifier saw the unknown kid {kid}")
            return
        try:
            # Times are not verified: the hosts' clocks may be wrong on purpose.
            jwt.PyJWS().decode(token, self._keys[kid], algorithms=[str(self._keys[kid].algorithm_name)])
        except jwt.InvalidTokenError as error:
            self._tally.remark(f"a verifier refused a token: {error}")
