"""One fault on one database: set up, load, strike, calm down, check the results."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.chains import TIME_OUT, Chain, Lost, RobbedChain, Service, Tally
from tests.faults.proxy import Proxy
from tests.faults.servers import Database
from tests.faults.site import Plan, Site
from tests.faults.verifiers import Verifier
from tests.faults.wire import Answer

# The shares of the answers that are lost or late when there is a proxy.
DROPPED: Final = 0.10
DELAYED: Final = 0.02
_ROBBED: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much load there is."""

    clients: int
    refreshes: int
    """The least number of refreshes."""
    seconds: float
    """The least duration: a fault needs time to strike."""
    time_box: float


class Stage:
    """Everything that a fault has access to."""

    def __init__(self, database: Database, site: Site, rng: random.Random) -> None:
        self.database = database
        self.site = site
        self.rng = rng
        self.tally = Tally()
        self.service: Service
        self.strikes = 0
        self.verified = 0
        """The number of access tokens whose signature was verified."""
        self._over = asyncio.Event()

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def end(self) -> None:
        self._over.set()

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the end."""
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            return

    async def every(self, seconds: float, strike: Callable[[], Any]) -> None:
        """Strike again and again until the end, in another thread. Every strike runs to completion."""
        await self.pause(min(seconds, 1.0))
        while not self.is_over:
            await asyncio.to_thread(strike)
            self.strikes += 1
            await self.pause(seconds * self.rng.uniform(0.5, 1.5))


Strike = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Row:
    """A row of the table: one fault on one database."""

    fault: str
    database: str
    tally: Tally
    strikes: int
    seconds: float
    refusals: Counter[str]
    """The errors with which the database refused attempts; the package repeated most of these attempts."""
    problems: list[str]


async def play(
    fault: str, database: Database, plan: Plan, strike: Strike, *, size: Size, seed: str, folder: Path
) -> Row:
    """Let a fault strike a site under load, and check what is left."""
    began = time.monotonic()
    urls = plan.urls or [database.url(number % database.nodes) for number in range(plan.hosts)]
    site = Site(folder, urls, plan)
    stage = Stage(database, site, random.Random(seed))
    proxy = None
    try:
        begun = await asyncio.to_thread(site.operate, f"begin {size.clients}")
        await asyncio.to_thread(site.start)
        ports = site.ports
        if plan.proxied:
            proxy = Proxy(ports, random.Random(seed), dropped=DROPPED, delayed=DELAYED, delay=TIME_OUT + 1)
            await proxy.start()
            ports = proxy.ports
        stage.service = Service(
            ports, stage.rng, stage.tally, begun["secret"], copies=plan.copies, copied=plan.copied
        )
        chains = _chains(stage.service, begun["tokens"])
        await _load(stage, chains, strike, size)
        # The fault is over: anything still broken stays broken.
        stage.service.ports = site.ports
        stage.service.copies = 1
        await _account(stage, [chain for chain in chains if not getattr(chain, "was_robbed", False)])
    finally:
        if proxy is not None:
            await proxy.stop()
        await asyncio.to_thread(site.stop)
    seconds = time.monotonic() - began
    return Row(
        fault, database.name, stage.tally, stage.strikes, seconds, site.refusals(), _problems(stage, size)
    )


def _chains(service: Service, tokens: Sequence[str]) -> list[Chain]:
    robbed = int(len(tokens) * _ROBBED)
    return [
        (RobbedChain if number < robbed else Chain)(service, ("portal", "app")[number % 2], token)
        for number, token in enumerate(tokens)
    ]


async def _load(stage: Stage, chains: Sequence[Chain], strike: Strike, size: Size) -> None:
    began = time.monotonic()
    verifiers = [Verifier(stage.site.ports, stage.tally) for _ in range(3)]

    def verify(answer: Answer) -> None:
        # A resource server can verify tokens once it has fetched the keys.
        ready = [verifier for verifier in verifiers if verifier.is_ready]
        if ready:
            stage.rng.choice(ready).verify(answer)
            stage.verified += 1

    stage.service.on_answer = verify

    async def watch() -> None:
        while not stage.is_over:
            elapsed = time.monotonic() - began
            enough = stage.tally.refreshes >= size.refreshes and elapsed >= size.seconds
            if enough or elapsed >= size.time_box or all(chain.is_lost for chain in chains):
                stage.end()
            await stage.pause(0.1)

    async with asyncio.TaskGroup() as group:
        verifying = [group.create_task(verifier.run()) for verifier in verifiers]
        striking = group.create_task(_guarded(strike(stage), stage))
        watching = group.create_task(watch())
        runs = [chain.run(lambda: stage.is_over) for chain in chains]
        await asyncio.gather(striking, watching, *runs)
        for task in verifying:
            task.cancel()


async def _guarded(striking: Awaitable[None], stage: Stage) -> None:
    try:
        await striking
    except BaseException:
        stage.end()
        raise


async def _account(stage: Stage, chains: Sequence[Chain]) -> None:
    """Check that every session works, and then that every thief is caught."""
    tally = stage.tally
    for _ in range(2):
        await _together(chain.step() for chain in chains if not chain.is_lost)
    rows = await asyncio.to_thread(stage.site.operate, "rows")
    tally.replays = rows["replays"]
    chains = [chain for chain in chains if not chain.is_lost]
    for chain in chains:
        if rows["sessions"][chain.session] != [chain.generation, ""]:
            tally.remark(f"the row has {rows['sessions'][chain.session]}, the client {chain.generation}")
            tally.wrongly_accepted += 1
    await _together(_caught(chain) for chain in chains)
    rows = await asyncio.to_thread(stage.site.operate, "rows")
    for chain in chains:
        if rows["sessions"][chain.session] != [chain.generation, "reuse"]:
            tally.remark(f"after a reuse the row has {rows['sessions'][chain.session]}")
            tally.wrongly_accepted += 1


async def _caught(chain: Chain) -> None:
    try:
        await chain.reuse()
    except Lost as reason:
        chain.service.tally.remark(f"a reuse: {reason}")


async def _together(tasks: Any) -> None:
    """Run all tasks, a few at a time."""
    limit = asyncio.Semaphore(20)

    async def one(task: Awaitable[None]) -> None:
        async with limit:
            await task

    await asyncio.gather(*(one(task) for task in tasks))


def _problems(stage: Stage, size: Size) -> list[str]:
    tally = stage.tally
    problems = list(tally.remarks)
    if tally.thefts != size.clients - tally.lost:
        problems.append(f"{tally.thefts} thefts of {size.clients - tally.lost} sessions")
    if stage.verified < tally.refreshes / 2:
        problems.append(f"only {stage.verified} of {tally.refreshes} access tokens were verified")
    if tally.refreshes < size.refreshes:
        problems.append(f"{tally.refreshes} refreshes within the time box, not {size.refreshes}")
    problems.extend(stage.site.surprises())
    for what, count in (
        ("sessions lost", tally.lost),
        ("wrongly accepted", tally.wrongly_accepted),
        ("5xx other than 503", tally.errors),
    ):
        if count:
            problems.append(f"{what}: {count}")
    return problems
