"""Clients that refresh in chains, by rules that any client can follow, and record the results.

A chain uses the refresh token of its last answer. If it gets no answer (the connection is reset, time runs
out, or the answer is 503), it sends the same request again, with ever longer pauses, for at most the grace
period. It never repeats a request that was answered.

Real clients refresh every few minutes. Chains pause only while others have their turn, so that the servers
are never idle, and never so busy that they answer nobody in time. In real life a request that a client has
given up on is over before the next refresh, so each chain waits for such stragglers before it continues. The
answer to a straggler must be the same as the answer to its repetition.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.faults import wire
from tests.faults.wire import Answer

TIME_OUT: Final = 4.0
# The default grace period is 30 s; a retry has to arrive, and be read, within it.
PATIENCE: Final = 28.0
_LAST_STRAGGLER: Final = 60.0
REDIRECT_URI: Final = "https://app.example.com/callback"
VERIFIER: Final = "v" * 43
_CODE: Final = "ciam_ac1_"
_INVALID_GRANT: Final = {"error": "invalid_grant"}


class Lost(Exception):
    """A client that followed the rules no longer has a working token."""


@dataclass
class Tally:
    """The counts of one fault in the table."""

    requests: int = 0
    refreshes: int = 0
    retries: int = 0
    unavailable: int = 0
    """Answers of 503, which the service promises when its database refuses."""
    unanswered: int = 0
    replays: int = 0
    lost: int = 0
    wrongly_accepted: int = 0
    errors: int = 0
    """Answers of 5xx other than 503."""
    thefts: int = 0
    """Reuses of a superseded token, which must all be refused."""
    remarks: list[str] = field(default_factory=list)

    def remark(self, text: str) -> None:
        """Record what broke, the first few times."""
        if len(self.remarks) < 10:
            self.remarks.append(text)


@dataclass
class Service:
    """Where the clients send their requests, and how they authenticate."""

    ports: list[int]
    """Each request goes to a random one."""
    rng: random.Random
    tally: Tally
    secret: str
    copies: int = 1
    copied: float = 1.0
    """The share of the requests that are sent in several copies."""
    at_once: int = 80
    """How many clients may wait for an answer at once; the others pause, as clients do between refreshes."""
    on_answer: Callable[[Answer], None] = lambda answer: None

    def __post_init__(self) -> None:
        self.turns = asyncio.Semaphore(self.at_once)


def generation_of(token: str) -> int:
    """Return how many rotations preceded a token; a code is generation zero."""
    if token.startswith(_CODE):
        return 0
    return int.from_bytes(_bytes_of(token)[16:20], "big")


def session_of(token: str) -> str:
    """Return the id of the session that a token belongs to."""
    return str(uuid.UUID(bytes=_bytes_of(token)[:16]))


def _bytes_of(token: str) -> bytes:
    encoded = token.removeprefix("ciam_rt1_").removeprefix(_CODE)
    return urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


class Chain:
    """One client with one session, which begins with a refresh token or with a code."""

    def __init__(self, service: Service, client_id: str, token: str) -> None:
        self.service = service
        self.client_id = client_id
        self.tokens = [token]
        self.is_lost = False
        self.generation = 0
        self._stragglers: set[asyncio.Task[Answer | None]] = set()

    @property
    def session(self) -> str:
        return session_of(self.tokens[-1])

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Refresh again and again."""
        while not (is_over() or self.is_lost):
            async with self.service.turns:
                if not is_over():
                    await self.step()

    async def step(self) -> None:
        """Refresh once, with as many attempts as needed."""
        try:
            await self.refresh()
        except Lost as reason:
            self.is_lost = True
            self.service.tally.lost += 1
            self.service.tally.remark(f"lost after {self.generation} refreshes: {reason}")

    async def refresh(self) -> None:
        answers = await self.present(self.tokens[-1])
        for answer in answers:
            if answer.status != 200:
                raise Lost(f"{answer.status} {answer.body}")
        successors = {answer.body["refresh_token"] for answer in answers}
        late = await self._end_of_stragglers()
        successors |= {answer.body["refresh_token"] for answer in late if answer.status == 200}
        successor = answers[0].body["refresh_token"]
        if len(successors) > 1 or generation_of(successor) != self.generation + 1:
            self.service.tally.wrongly_accepted += 1
            found = sorted(map(generation_of, successors))
            self.service.tally.remark(
                f"{len(successors)} successors of generation {self.generation}: {found}"
            )
        self.generation += 1
        # The successor for the next refresh, and enough old tokens for a thief to steal one.
        self.tokens = [*self.tokens[-7:], successor]
        self.service.tally.refreshes += 1
        for answer in answers:
            self.service.on_answer(answer)

    async def reuse(self) -> None:
        """Present a token that was superseded long ago: it must be refused, and the session must end."""
        self.service.tally.thefts += 1
        for token in (self.service.rng.choice(self.tokens[:-2]), self.tokens[-1]):
            answers = await self.present(token)
            answers += await self._end_of_stragglers()
            for answer in answers:
                if answer.status == 200:
                    self.service.tally.wrongly_accepted += 1
                    self.service.tally.remark(f"generation {generation_of(token)} accepted after a reuse")
                elif answer.status < 500 and (answer.status, answer.body) != (400, _INVALID_GRANT):
                    self.service.tally.remark(f"a reuse was answered {answer.status} {answer.body}")

    async def present(self, token: str) -> list[Answer]:
        """Send a request until it is answered; copies of it get an answer each."""
        service, tally = self.service, self.service.tally
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + PATIENCE
        pause = 0.1
        while True:
            answers = await self._attempt(token)
            if answers:
                return answers
            if loop.time() + pause > give_up_at:
                raise Lost("no answer within the grace period")
            tally.retries += 1
            await asyncio.sleep(service.rng.uniform(pause / 2, pause))
            pause = min(2 * pause, 2.0)

    async def _attempt(self, token: str) -> list[Answer]:
        """Send a request once to each of some hosts; return the answers other than 503."""
        service, tally = self.service, self.service.tally
        copies = service.copies if service.rng.random() < service.copied else 1
        requests = {
            asyncio.create_task(self._request(port, token))
            for port in service.rng.sample(service.ports, min(copies, len(service.ports)))
        }
        tally.requests += len(requests)
        done, pending = await asyncio.wait(requests, timeout=TIME_OUT)
        self._stragglers |= pending
        answers = []
        for answer in (task.result() for task in done):
            if answer is None:
                tally.unanswered += 1
            elif answer.status == 503:
                tally.unavailable += 1
            else:
                answers.append(answer)
                self._count_errors(answer)
        tally.unanswered += len(pending)
        return answers

    async def _end_of_stragglers(self) -> list[Answer]:
        if not self._stragglers:
            return []
        done, pending = await asyncio.wait(self._stragglers, timeout=_LAST_STRAGGLER)
        self._stragglers = set()
        for task in pending:
            task.cancel()
        late = [answer for task in done if (answer := task.result()) is not None]
        for answer in late:
            self._count_errors(answer)
        return late

    def _count_errors(self, answer: Answer) -> None:
        if answer.status >= 500 and answer.status != 503:
            self.service.tally.errors += 1
            self.service.tally.remark(f"{answer.status} {answer.body}")

    async def _request(self, port: int, token: str) -> Answer | None:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        if token.startswith(_CODE):
            form = {
                "grant_type": "authorization_code",
                "code": token,
                "redirect_uri": REDIRECT_URI,
                "code_verifier": VERIFIER,
            }
        if self.client_id == "app":
            return await wire.post(port, "/oauth2/token", form | {"client_id": "app"})
        return await wire.post(port, "/oauth2/token", form, (self.client_id, self.service.secret))


class RobbedChain(Chain):
    """A session with a thief, who uses an old token of it in the middle of the load."""

    def __init__(self, service: Service, client_id: str, token: str) -> None:
        super().__init__(service, client_id, token)
        self._robbed_at = service.rng.randrange(3, 12)
        self.was_robbed = False

    async def run(self, is_over: Callable[[], bool]) -> None:
        while not (is_over() or self.is_lost):
            async with self.service.turns:
                if not is_over():
                    await self.step()
            if self.generation == self._robbed_at and not self.is_lost:
                self.was_robbed = True
                try:
                    await self.reuse()
                except Lost as reason:
                    self.service.tally.remark(f"a reuse: {reason}")
                return
