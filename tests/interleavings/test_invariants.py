"""What the invariants make of a run."""

from __future__ import annotations

from django_ciam_token.models import RefreshToken
from tests.interleavings import invariants
from tests.interleavings.scheduler import Run
from tests.interleavings.steps import Step

UPDATE, COMMIT = Step(f'UPDATE "{RefreshToken._meta.db_table}" SET ...'), Step("COMMIT")


def test_a_commit_that_failed_is_none():
    """A revocation that is cut before its COMMIT is repeated: only the second one counts."""
    again = Run(trace=[(1, UPDATE), (1, COMMIT), (0, UPDATE), (0, COMMIT), (1, UPDATE), (1, COMMIT)])
    again.failed = {1: {1}}

    assert invariants._commits_of_sessions(again, 0) == [3]
    assert invariants._commits_of_sessions(again, 1) == [5]
