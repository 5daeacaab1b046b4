"""What a failover to a replica that lacks the last transactions does, as in docs/explanation/scaling.md.

The tests undo the lost transactions by writing the row as the replica still has it.
"""

from __future__ import annotations

import pytest
from django.utils import timezone

from django_ciam_token.api import RevocationReason, revoke_sessions
from django_ciam_token.models import RefreshToken
from django_ciam_token.sessions.criteria import SessionCriteria

pytestmark = pytest.mark.django_db

NEVER_ISSUED = "'event': 'refresh_token_not_issued_here'"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)


class Replica:
    """A replica with the session as it is now; later transactions never reach it."""

    def __init__(self):
        self.row = RefreshToken.objects.values().get()

    def takes_over(self):
        RefreshToken.objects.all().delete()
        RefreshToken.objects.create(**self.row)


def refreshed(refresh, client, token):
    response = refresh(client, token)
    assert response.status_code == 200, response.content
    return response.json()["refresh_token"]


def assert_refused(response, traces, reason):
    assert (response.status_code, response.json()) == (400, {"error": "invalid_grant"})
    assert any(f"'reason': '{reason}'" in line and "request_refused" in line for line in traces.logged)


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_a_client_with_a_token_of_a_lost_rotation_must_sign_in_again(
    web_client, first_tokens, refresh, traces, lost
):
    replica = Replica()
    token = first_tokens["refresh_token"]
    for _ in range(lost):
        token = refreshed(refresh, web_client, token)

    replica.takes_over()
    response = refresh(web_client, token)

    assert_refused(response, traces, "never_issued")
    assert sum(NEVER_ISSUED in line for line in traces.logged) == 1
    assert RefreshToken.objects.get().revoked_at is None


def test_a_client_that_still_has_the_previous_token_can_refresh(web_client, first_tokens, refresh, traces):
    replica = Replica()
    refreshed(refresh, web_client, first_tokens["refresh_token"])

    replica.takes_over()
    token = refreshed(refresh, web_client, first_tokens["refresh_token"])

    refreshed(refresh, web_client, token)
    assert not any(NEVER_ISSUED in line for line in traces.logged)


@pytest.mark.parametrize(("rotations", "ended"), [(1, False), (2, False), (3, True)])
def test_a_lost_token_is_unknown_until_the_session_has_passed_its_generation_and_is_then_reuse(
    web_client, first_tokens, refresh, traces, rotations, ended
):
    """Needs two holders of one session: one refreshes after the failover, one has the lost token."""
    replica = Replica()
    lost = refreshed(refresh, web_client, first_tokens["refresh_token"])
    replica.takes_over()
    token = first_tokens["refresh_token"]
    for _ in range(rotations):
        token = refreshed(refresh, web_client, token)

    assert_refused(refresh(web_client, lost), traces, "reuse" if ended else "never_issued")

    assert (RefreshToken.objects.get().revoked_at is not None) is ended


def test_a_session_that_was_lost_altogether_is_unknown(web_client, first_tokens, refresh, traces):
    RefreshToken.objects.all().delete()

    assert_refused(refresh(web_client, first_tokens["refresh_token"]), traces, "unknown_session")
    assert not any(NEVER_ISSUED in line for line in traces.logged)


def test_a_lost_revocation_brings_the_session_back_until_it_is_repeated(
    web_client, first_tokens, refresh, traces
):
    replica = Replica()
    [session] = RefreshToken.objects.all()
    criteria = SessionCriteria(session_id=session.pk)
    assert revoke_sessions(criteria, reason=RevocationReason.OPERATOR) == 1

    replica.takes_over()
    token = refreshed(refresh, web_client, first_tokens["refresh_token"])

    assert revoke_sessions(criteria, reason=RevocationReason.OPERATOR) == 1
    assert_refused(refresh(web_client, token), traces, "revoked")


def test_a_session_whose_end_was_lost_ends_at_the_next_reuse(web_client, first_tokens, refresh, traces):
    stolen = first_tokens["refresh_token"]
    token = refreshed(refresh, web_client, refreshed(refresh, web_client, stolen))
    replica = Replica()
    assert_refused(refresh(web_client, stolen), traces, "reuse")

    replica.takes_over()
    token = refreshed(refresh, web_client, token)
    assert RefreshToken.objects.get().expires_at > timezone.now()

    assert_refused(refresh(web_client, stolen), traces, "reuse")
    assert_refused(refresh(web_client, token), traces, "revoked")
