"""How a run ended, in words that are the same for two runs that ended in the same way."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.interleavings.invariants import Facts
from tests.interleavings.operations import Outcome
from tests.interleavings.world import AT_FIRST


def outcome(facts: Facts) -> str:
    """Describe the answers, the rows and what was reported, without what is random."""
    world = facts.world
    names = {
        None: "none",
        world.session_id: "session",
        world.code_session_id: "code",
        world.bystander_id: "bystander",
    }
    rows = Counter(
        (
            names.get(pk, "other"),
            row["generation"] - AT_FIRST,
            row["revoked_at"] is None,
            row["revoked_reason"],
        )
        for pk, row in facts.rows.items()
    )
    return repr(
        {
            "answers": [_answer(answer) for answer in facts.outcomes],
            "afterwards": [_answer(answer) for _, answer in sorted(facts.afterwards.items())],
            "held": [answer.status for _, answer in facts.held],
            "bystander": facts.bystander and facts.bystander.status,
            "rows": sorted(rows.items(), key=repr),
            "events": _named(facts.events, names),
            "reports": _named(facts.reports, names),
            "secrets": facts.secrets_live,
            "keys": facts.keys_current,
        }
    )


def _answer(answer: Outcome) -> Any:
    error = type(answer.error).__name__
    if answer.status != 200 or not answer.body:
        return answer.status, answer.body, error
    members = json.loads(answer.body)
    return answer.status, sorted(members), members.get("active"), members.get("scope"), error


def _named(counted: Counter[tuple[str, Any]], names: dict[Any, str]) -> list[Any]:
    found = Counter[tuple[str, str]]()
    for (event, pk), number in counted.items():
        found[event, names.get(pk, "other")] += number
    return sorted(found.items())
