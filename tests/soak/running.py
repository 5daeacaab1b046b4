"""A whole run: the site, the load, what the operator does meanwhile, and a sample every minute."""

from __future__ import annotations

import asyncio
import os
import platform
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from tests.faults.chains import Service
from tests.faults.servers import PostgreSQL
from tests.faults.site import Plan
from tests.faults.stage import Stage
from tests.faults.verifiers import Verifier
from tests.faults.wire import Answer
from tests.soak.meter import Meter
from tests.soak.people import Person, TimedChain
from tests.soak.records import Outcome, Record, Sample
from tests.soak.sampling import Sampler
from tests.soak.services import Services
from tests.soak.site import Operator, SoakSite

_VISITORS: Final = 6
_FORGETFUL: Final = 2
# Connections: the operator's, and two that have been replaced and are just ending.
_OTHERS: Final = 3
# Seconds between two of them. A new key is published for twenty seconds before it signs.
_KEY_EVERY: Final = 45
_SECRET_EVERY: Final = 30
_PURGE_EVERY: Final = 20
# A short run has as many samples as it takes to have four quarters of them.
_SAMPLES: Final = 12
_SAMPLE_EVERY: Final = 60


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much load there is, and for how long."""

    seconds: float
    clients: int
    workers: int
    threads: int
    seed: int

    def __str__(self) -> str:
        return f"{self.clients} clients that stay, {self.workers} workers of {self.threads} threads"


@dataclass
class Run:
    """The parts of a run that know each other."""

    stage: Stage
    operator: Operator
    meter: Meter
    services: Services
    begun: Mapping[str, Any]
    happened: Counter[str]

    async def rotate_key(self) -> None:
        await self.operator("rotate_key")
        self.happened["signing keys rotated"] += 1

    async def rotate_secret(self) -> None:
        """Replace the secret of each confidential client; the old one remains valid for a while."""
        self.stage.service.secret = await self.operator("rotate_secret portal")
        self.services.secret = await self.operator("rotate_secret machine")
        self.happened["client secrets rotated"] += 2

    async def purge(self) -> None:
        if not await self.operator("purge"):
            self.stage.tally.remark("a purge did not finish")
        self.happened["purges"] += 1


def run(size: Size, tell: Callable[[Sample], None]) -> Record:
    """Run the load on a new site and return the record.

    The folder with the logs stays only if something went wrong.
    """
    folder = Path(tempfile.mkdtemp(prefix="ciam-soak-"))
    # Servers that run as another user must be able to enter the folder.
    folder.chmod(0o755)
    database = PostgreSQL(folder / "postgresql")
    try:
        database.start()
        record = asyncio.run(_on(database, folder / "site", size, tell))
    finally:
        database.stop()
    outcome = record.outcome
    if outcome.remarks or outcome.lost or outcome.unanswered:
        print(f"Logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return record


async def _on(database: PostgreSQL, folder: Path, size: Size, tell: Callable[[Sample], None]) -> Record:
    plan = Plan(hosts=1, workers=size.workers, threads=size.threads, options=database.options)
    site = SoakSite(folder, [database.url()], plan)
    stage = Stage(database, site, random.Random(size.seed))
    operator = Operator(site)
    try:
        begun = await operator(f"begin {size.clients} {_VISITORS + _FORGETFUL}")
        await asyncio.to_thread(site.start)
        stage.service = Service(
            site.ports,
            stage.rng,
            stage.tally,
            begun["secrets"]["portal"],
            at_once=size.clients + len(begun["cookies"]),
        )
        meter = Meter(stage.tally)
        services = Services(stage, meter, begun["secrets"]["machine"])
        happened = Counter(dict.fromkeys(("signing keys rotated", "client secrets rotated", "purges"), 0))
        whole = Run(stage, operator, meter, services, begun, happened)
        sampler = Sampler(database, site.hosts[0])
        try:
            samples = await _load(whole, sampler, size, tell)
            database_version = sampler.version()
        finally:
            sampler.close()
    finally:
        await asyncio.to_thread(site.stop)
    for line, count in site.surprises().items():
        stage.tally.remark(f"{count} times in the log: {line}")
    most = size.workers * size.threads + _OTHERS
    return Record(
        size.workers, most, samples, _outcome(whole), described=f"{size}; {_machine(database_version)}"
    )


async def _load(whole: Run, sampler: Sampler, size: Size, tell: Callable[[Sample], None]) -> list[Sample]:
    stage, services, begun = whole.stage, whole.services, whole.begun
    names = [name for name in begun["cookies"] if name.startswith("person-")]
    people = [Person(stage, whole.meter, whole.operator, name, begun["cookies"][name]) for name in names]
    verifier = Verifier(stage.site.ports, stage.tally)
    stage.service.on_answer = lambda answer: verifier.verify(answer) if verifier.is_ready else None

    async with asyncio.TaskGroup() as group:
        verifying = group.create_task(verifier.run())
        samples, *_ = await asyncio.gather(
            _record(whole, sampler, size.seconds, tell),
            *_chains(whole),
            *(person.visit() for person in people[_FORGETFUL:]),
            *(person.forget_password() for person in people[:_FORGETFUL]),
            *(services.use_tokens() for _ in range(2)),
            services.be_a_machine(),
            services.watch(),
            services.administer(begun["pages"], begun["cookies"]["operator"]),
            _every(stage, _KEY_EVERY, whole.rotate_key),
            _every(stage, _SECRET_EVERY, whole.rotate_secret),
            _every(stage, _PURGE_EVERY, whole.purge),
        )
        verifying.cancel()
    return samples


def _chains(whole: Run) -> list[Awaitable[None]]:
    """Return the clients that stay for the whole run; what they get is also used at resource servers."""
    stage = whole.stage

    class Staying(TimedChain):
        async def present(self, token: str) -> list[Answer]:
            answers = await super().present(token)
            if answers[0].status == 200:
                whole.services.fresh.append(self.last["access_token"])
            return answers

    chains = [
        Staying(whole.meter, stage.service, ("portal", "app")[number % 2], token)
        for number, token in enumerate(whole.begun["tokens"])
    ]
    return [chain.run(lambda: stage.is_over) for chain in chains]


async def _every(stage: Stage, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    await stage.pause(seconds / 2)
    while not stage.is_over:
        await act()
        await stage.pause(seconds)


async def _record(
    whole: Run, sampler: Sampler, seconds: float, tell: Callable[[Sample], None]
) -> list[Sample]:
    """Take a sample every minute, and end the run in time."""
    loop, samples = asyncio.get_running_loop(), list[Sample]()
    began, every = loop.time(), min(_SAMPLE_EVERY, seconds / _SAMPLES)
    try:
        while loop.time() - began < seconds:
            await asyncio.sleep(min(began + (len(samples) + 1) * every, began + seconds) - loop.time())
            at = loop.time() - began
            samples.append(await asyncio.to_thread(sampler.sample, at, whole.meter.read()))
            tell(samples[-1])
    finally:
        whole.stage.end()
    return samples


def _machine(database: str) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("Django", "gunicorn", "psycopg"))
    return f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {database}, {packages}"


def _outcome(whole: Run) -> Outcome:
    tally, meter = whole.stage.tally, whole.meter
    return Outcome(
        requests=dict(meter.requests),
        happened={**whole.happened, "passwords changed": whole.stage.strikes, "reuses": tally.thefts},
        unanswered=meter.unanswered,
        errors=meter.errors,
        lost=tally.lost,
        wrongly_accepted=tally.wrongly_accepted,
        remarks=list(tally.remarks),
    )
