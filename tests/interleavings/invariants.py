"""What must be true after each run, whatever the order and wherever it broke.

Each invariant is a function that yields what is wrong; its name is what a violation is called.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from django.core.handlers.base import BaseHandler
from django.db.models import Q
from django.utils import timezone

from django_ciam_token.crypto import refresh_token_string, site_keys
from django_ciam_token.keys import key_set
from django_ciam_token.models import ClientSecret, RefreshToken, SecurityEvent, SigningKey
from tests.interleavings.operations import DIED, REFUSED, Operation, Outcome, refresh
from tests.interleavings.scheduler import Run
from tests.interleavings.world import AT_FIRST, World

Row = Mapping[str, Any]
_SESSIONS = RefreshToken._meta.db_table


@dataclass
class Facts:
    """Everything that is known of a run."""

    world: World
    operations: tuple[Operation, ...]
    outcomes: list[Outcome]
    run: Run
    reports: Counter[tuple[str, Any]]
    isolation: str
    rows: dict[Any, Row]
    """Sessions, by id, before anything was asked afterwards."""
    events: Counter[tuple[str, Any]]
    secrets_live: int
    keys_current: int
    afterwards: dict[int, Outcome] = field(default_factory=dict)
    """What a client got that was not answered, or asked to try again, and did."""
    held: list[tuple[str, Outcome]] = field(default_factory=list)
    """The tokens that clients held in the end, and the answers to them, oldest first."""
    bystander: Outcome | None = None

    @property
    def session(self) -> Row | None:
        return self.rows.get(self.world.session_id)

    @property
    def died(self) -> bool:
        return any(outcome.status == DIED for outcome in self.outcomes)

    @property
    def may_end(self) -> bool:
        """Whether the session, or its use, may end in this group."""
        ends = any(op.ends or op.reuses for op in self.operations)
        # Two generations behind is a reuse, also for a client that is slow.
        overtakes = {op.presents for op in self.operations} >= {1, 2}
        return ends or overtakes

    def answer(self, number: int) -> Outcome:
        return self.afterwards.get(number, self.outcomes[number])

    def has_ended(self) -> bool:
        """Whether something that ends the session was confirmed to whoever asked for it."""
        pairs = zip(self.operations, self.outcomes, strict=True)
        return any(operation.ends and outcome.is_done for operation, outcome in pairs)


def gather(
    world: World,
    operations: tuple[Operation, ...],
    run: Run,
    reports: Counter[tuple[str, Any]],
    handler: BaseHandler,
    isolation: str,
) -> Facts:
    """Look at the rows, and then do what the clients do next."""
    unlimited = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    facts = Facts(
        world=world,
        operations=operations,
        outcomes=[op.outcome(result) for op, result in zip(operations, run.results, strict=True)],
        run=run,
        reports=reports.copy(),
        isolation=isolation,
        rows={
            row["pk"]: row
            for row in RefreshToken.objects.values("pk", "generation", "revoked_at", "revoked_reason")
        },
        events=Counter(SecurityEvent.objects.values_list("event", "session_id")),
        secrets_live=ClientSecret.objects.filter(unlimited).count(),
        keys_current=SigningKey.objects.filter(retired_at=None).count(),
    )
    # A process that did not make the new keys reads them in time.
    key_set.forget()
    for number, operation in enumerate(operations):
        if facts.outcomes[number].status in (DIED, 503) and operation.presents is not None:
            facts.afterwards[number] = operation.outcome(operation.act(world, handler))
    tokens = {
        token
        for number, op in enumerate(operations)
        if op.presents in (1, 2)
        for token in _held(facts, number)
    }
    tokens = tokens or {world.tokens[AT_FIRST]}
    for token in sorted(tokens, key=_generation):
        facts.held.append((token, refresh(world, handler, token)))
    facts.bystander = refresh(world, handler, world.bystander)
    return facts


def _held(facts: Facts, number: int) -> list[str]:
    answer = facts.answer(number)
    return [answer.member("refresh_token")] if answer.status == 200 else []


def _generation(token: str) -> int:
    return refresh_token_string.authenticate(token, site_keys.token_keys()).generation


def answers_are_promised(facts: Facts) -> Iterator[str]:
    for number, operation in enumerate(facts.operations):
        for outcome in (facts.outcomes[number], facts.answer(number)):
            if outcome.status in (200, 0, DIED) or _is_promised_refusal(outcome, operation):
                continue
            yield f"{operation.name}: {outcome.status} {outcome.body!r} {outcome.error!r}"
    if not facts.run.has_crashed and facts.isolation in ("read committed", "immediate"):
        deleted = any("delete" in operation.name for operation in facts.operations)
        for operation, outcome in zip(facts.operations, facts.outcomes, strict=True):
            # What operators and the site itself do to a row that is deleted meanwhile is refused.
            if outcome.status == 503 or (outcome.status == REFUSED and not deleted):
                yield f"{operation.name}: refused without need: {outcome.error!r}"


def _is_promised_refusal(outcome: Outcome, operation: Operation) -> bool:
    if outcome.status == REFUSED:
        return operation.presents is None
    bodies = {400: {"error": "invalid_grant"}, 401: {"error": "invalid_client"}}
    if outcome.status in bodies:
        return bool(json.loads(outcome.body) == bodies[outcome.status])
    return outcome.status == 503 and json.loads(outcome.body)["error"] == "temporarily_unavailable"


def the_current_token_is_held(facts: Facts) -> Iterator[str]:
    """At most one is current, and it is the one that a client holds or gets by repeating its request."""
    session = facts.session
    if session is None or session["revoked_at"] is not None or facts.may_end:
        return
    for number, operation in enumerate(facts.operations):
        if operation.presents in (1, 2) and facts.answer(number).status != 200:
            yield f"{operation.name}: {facts.answer(number).status}, and the session is live"
    answers = [answer for _, answer in facts.held]
    if any(answer.status != 200 for answer in answers):
        yield f"held tokens are answered {[answer.status for answer in answers]}"
    by_generation = Counter(_generation(token) for token, _ in facts.held)
    if by_generation and max(by_generation.values()) > 1:
        yield "two different tokens of one generation"


def nobody_honest_is_lost(facts: Facts) -> Iterator[str]:
    session = facts.session
    if not facts.may_end and (session is None or session["revoked_at"] is not None):
        yield f"the session has ended: {session}"
    if not any(operation.ends for operation in facts.operations):
        if facts.bystander is not None and facts.bystander.status != 200:
            yield f"a session that nobody touched is answered {facts.bystander.status}"
        for number, operation in enumerate(facts.operations):
            is_lone = operation.presents in ("code", "foreign")
            twice = sum(op.presents == operation.presents for op in facts.operations) > 1
            if (
                is_lone
                and not twice
                and facts.outcomes[number].status != DIED
                and facts.answer(number).status != 200
            ):
                yield f"{operation.name}: {facts.answer(number).status}"


def a_revoked_session_gives_no_token(facts: Facts) -> Iterator[str]:
    session = facts.session
    is_over = facts.has_ended() or session is None or session["revoked_at"] is not None
    if is_over and any(answer.status == 200 for _, answer in facts.held):
        yield "a token was issued afterwards"
    for number, other in permutations(range(len(facts.operations)), 2):
        operation = facts.operations[number]
        if not isinstance(operation.presents, int) or facts.outcomes[number].status != 200:
            continue
        if not (facts.operations[other].ends and facts.outcomes[other].is_done):
            continue
        if facts.run.ended_at.get(other, len(facts.run.trace)) <= facts.run.first_step_of(number):
            yield f"{operation.name} began after {facts.operations[other].name} had ended"
        if (
            facts.operations[other].revokes
            and operation.presents == AT_FIRST
            and _commits_after(facts.run, number, other)
        ):
            yield f"{operation.name} was written after {facts.operations[other].name}"


def _commits_after(run: Run, number: int, other: int) -> bool:
    mine, others = _commits_of_sessions(run, number), _commits_of_sessions(run, other)
    return bool(mine and others) and mine[0] > others[0]


def _commits_of_sessions(run: Run, number: int) -> list[int]:
    """Return where an operation committed what it wrote to sessions, and not only to the audit trail."""
    found, has_written = [], False
    steps = [(at, step) for at, (worker, step) in enumerate(run.trace) if worker == number]
    for own_number, (at, step) in enumerate(steps):
        if own_number in run.failed.get(number, ()):
            has_written = has_written and step.text not in ("COMMIT", "ROLLBACK")
            continue
        has_written = has_written or (step.text.startswith("UPDATE") and _SESSIONS in step.text)
        if step.text == "COMMIT" and has_written:
            found.append(at)
        if step.text in ("COMMIT", "ROLLBACK"):
            has_written = False
    return found


def each_reuse_ends_one_session(facts: Facts) -> Iterator[str]:
    reused = {pk for pk, row in facts.rows.items() if row["revoked_reason"] == "reuse"}
    if reused - {facts.world.session_id, facts.world.code_session_id, *_adopted(facts)}:
        yield "another session ended"
    for pk in reused:
        reported = facts.reports["reuse", pk]
        if reported > 1 or (reported < 1 and not facts.died):
            yield f"reported {reported} times"
    if sum(number for (event, _), number in facts.reports.items() if event == "reuse") > len(
        reused
    ) and not any("delete" in operation.name for operation in facts.operations):
        yield "reported, but the session is live"
    session, may_end_otherwise = facts.session, any(op.ends for op in facts.operations)
    is_live = session is not None and session["revoked_at"] is None
    for number, operation in enumerate(facts.operations):
        is_refused = operation.reuses and facts.outcomes[number].status == 400
        if is_refused and is_live and not may_end_otherwise:
            yield f"{operation.name} was refused, and the session is live"
        if operation.reuses and facts.outcomes[number].status == 200:
            yield f"{operation.name} was answered with tokens"


def _adopted(facts: Facts) -> set[Any]:
    if any(operation.presents == "foreign" for operation in facts.operations):
        return set(facts.rows) - {
            facts.world.session_id,
            facts.world.code_session_id,
            facts.world.bystander_id,
        }
    return set()


def events_are_reported_once(facts: Facts) -> Iterator[str]:
    world = facts.world
    for (event, pk), number in facts.reports.items():
        if event in ("reuse", "revoked", "issued") and pk is not None and number > 1:
            yield f"{event} signalled {number} times"
    for (event, pk), number in facts.events.items():
        if (
            pk is not None
            and event in ("reuse_detected", "revoked", "issued")
            and number > _allowed(event, facts)
        ):
            yield f"{event} recorded {number} times"
    for pk, row in facts.rows.items():
        reported = facts.reports["revoked", pk]
        if pk in (world.session_id, world.code_session_id, world.bystander_id):
            if row["revoked_at"] is None and reported:
                yield "a revocation was signalled, but the session is live"
            if row["revoked_at"] is not None and not reported and not facts.died:
                yield "a revocation was not signalled"
    session, refreshed = facts.session, facts.reports["refreshed", world.session_id]
    if session is not None:
        rotations = session["generation"] - AT_FIRST
        # A COMMIT that was not confirmed, and a revocation before it was looked for: nobody got these tokens.
        may_miss = facts.died or (facts.run.has_crashed and facts.may_end)
        if refreshed > rotations or (refreshed < rotations and not may_miss):
            yield f"{rotations} rotations, {refreshed} signalled"


def _allowed(event: str, facts: Facts) -> int:
    # The end of an access token is recorded as a revocation of its session's token, and not of the session.
    return (
        1 + sum(op.name == "revoke an access token" for op in facts.operations) if event == "revoked" else 1
    )


def keys_and_secrets_are_in_order(facts: Facts) -> Iterator[str]:
    if facts.keys_current != 1:
        yield f"{facts.keys_current} keys to sign with"
    if facts.secrets_live > 2:
        yield f"{facts.secrets_live} live secrets"


INVARIANTS: tuple[Callable[[Facts], Iterator[str]], ...] = (
    answers_are_promised,
    the_current_token_is_held,
    nobody_honest_is_lost,
    a_revoked_session_gives_no_token,
    each_reuse_ends_one_session,
    events_are_reported_once,
    keys_and_secrets_are_in_order,
)


def violations(facts: Facts) -> list[tuple[str, str]]:
    """Return what is wrong: which invariant, and what it says."""
    return [(invariant.__name__, text) for invariant in INVARIANTS for text in invariant(facts)]
