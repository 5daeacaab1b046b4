"""The audit trail; each test takes a real path through the service."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from datetime import timedelta

import pytest
from django.db import DatabaseError

from django_ciam_token.api import RevocationReason, issue_tokens, revoke_sessions, rotate_client_secret
from django_ciam_token.concealed import Concealed
from django_ciam_token.keys import signing_keys
from django_ciam_token.models import Client, EventType, RefreshToken, SecurityEvent
from django_ciam_token.monitoring import audit_trail
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.tokens.recognition import session_of_token
from tests.conftest import post_form

pytestmark = pytest.mark.django_db(transaction=True)


def logged(traces, event):
    return [line for line in traces.logged if f"'event': '{event}'" in line]


def events():
    return list(SecurityEvent.objects.order_by("pk").values_list("event", flat=True))


def test_first_tokens_are_an_event_and_an_ordinary_refresh_is_not(web_client, user, refresh, rf, traces):
    request = rf.post("/login", REMOTE_ADDR="192.0.2.7")
    first = issue_tokens(client=web_client, user=user, request=request)

    refresh(web_client, first["refresh_token"])

    [event] = SecurityEvent.objects.all()
    assert event.event == EventType.ISSUED
    assert (event.client_id, event.user_id) == (web_client.client_id, str(user.pk))
    assert event.session_id == RefreshToken.objects.get().pk
    assert event.address == "192.0.2.7"
    assert str(event).startswith("issued 20")
    [line] = logged(traces, "issued")
    assert f"'client_id': '{web_client.client_id}'" in line
    assert f"'session_id': '{event.session_id}'" in line


def test_a_machines_event_names_no_user(machine):
    issue_tokens(client=machine)

    assert SecurityEvent.objects.get().user_id == ""


def test_tokens_without_a_session_are_also_an_event(user, web_client):
    Client.objects.update(refresh_tokens_enabled=False)
    issue_tokens(client=Client.objects.get(), user=user)

    event = SecurityEvent.objects.get()
    assert (event.session_id, event.user_id) == (None, str(user.pk))


def test_a_replay_and_a_reuse_are_events(web_client, first_tokens, refresh):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, first_tokens["refresh_token"])
    refresh(web_client, second)

    refresh(web_client, first_tokens["refresh_token"])

    assert events() == ["issued", "replayed", "revoked", "reuse_detected"]
    revoked = SecurityEvent.objects.get(event="revoked")
    assert (revoked.reason, revoked.address) == ("reuse", "127.0.0.1")
    assert revoked.client_id == web_client.client_id


def test_many_replays_of_one_generation_are_one_event(web_client, first_tokens, refresh, monkeypatch):
    monkeypatch.setattr(audit_trail, "_SESSIONS_REMEMBERED", 1)
    remembered = OrderedDict({uuid.uuid4(): 1})
    monkeypatch.setattr(audit_trail, "_replays", remembered)
    token = first_tokens["refresh_token"]
    second = refresh(web_client, token).json()["refresh_token"]

    for _ in range(3):
        assert refresh(web_client, token).json()["refresh_token"] == second
    refresh(web_client, second)
    refresh(web_client, second)

    assert events() == ["issued", "replayed", "replayed"]
    assert list(remembered) == [RefreshToken.objects.get().pk]


def test_revocations_by_the_application_are_events(web_client, first_tokens, traces):
    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}

    post_form({**form, "token": first_tokens["access_token"]}, url="/oauth2/revoke")
    post_form({**form, "token": first_tokens["refresh_token"]}, url="/oauth2/revoke")

    reasons = list(SecurityEvent.objects.order_by("pk").values_list("event", "reason"))
    assert reasons == [("issued", ""), ("revoked", "access_token"), ("revoked", "client")]
    session = RefreshToken.objects.get()
    assert SecurityEvent.objects.filter(session_id=session.pk).count() == 3
    by_token, by_session = logged(traces, "revoked")
    assert "'jti': " in by_token
    assert f"'session_id': '{session.pk}'" in by_session
    assert "'reason': 'client'" in by_session


def test_revoking_an_access_token_several_times_is_recorded_once(web_client, first_tokens, traces):
    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}

    for _ in range(3):
        response = post_form({**form, "token": first_tokens["access_token"]}, url="/oauth2/revoke")
        assert (response.status_code, response.content) == (200, b"{}")

    assert SecurityEvent.objects.filter(event="revoked").count() == 1
    assert len(logged(traces, "revoked")) == 1


def test_revoking_many_sessions_is_one_log_line_and_one_event_for_each_session(web_client, user, traces):
    for _ in range(3):
        issue_tokens(client=web_client, user=user)

    revoke_sessions(SessionCriteria(user=user), reason=RevocationReason.OPERATOR, actor="root")
    revoke_sessions(SessionCriteria(user=user), reason=RevocationReason.OPERATOR)

    [line] = logged(traces, "revoked")
    assert "'sessions': 3" in line
    assert "'actor': 'root'" in line
    # Enough to repeat the revocation after a failover.
    assert f"'user': '{user.username}'" in line
    assert SecurityEvent.objects.filter(event="revoked", actor="root").count() == 3


def test_revoking_selected_sessions_logs_their_ids(web_client, user, traces):
    chosen, other = (issue_tokens(client=web_client, user=user) for _ in range(2))
    session = session_of_token(Concealed(chosen["refresh_token"]))

    revoke_sessions(
        SessionCriteria(among=RefreshToken.objects.filter(pk=session)), reason=RevocationReason.OPERATOR
    )

    [line] = logged(traces, "revoked")
    assert f"'session_ids': ['{session}']" in line
    assert str(session_of_token(Concealed(other["refresh_token"]))) not in line


def test_failed_client_authentication_is_an_event_that_names_only_existing_clients(web_client):
    form = {"grant_type": "refresh_token", "client_secret": "x"}

    post_form({**form, "client_id": web_client.client_id})
    post_form({**form, "client_id": "might be a secret in the wrong field"})

    assert list(SecurityEvent.objects.order_by("pk").values_list("client_id", "reason", "address")) == [
        (web_client.client_id, "wrong_secret", "127.0.0.1"),
        ("", "unknown_client", "127.0.0.1"),
    ]


def test_rotations_of_keys_and_secrets_are_events(web_client):
    key = signing_keys.rotate(algorithm="ES256")
    rotate_client_secret(web_client, overlap=timedelta(0))

    assert list(SecurityEvent.objects.order_by("pk").values_list("event", "client_id", "reason")) == [
        ("key_rotated", "", key.kid),
        ("secret_rotated", web_client.client_id, ""),
    ]


def test_the_trail_can_be_switched_off(web_client, user, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUDIT_TRAIL": False}

    issue_tokens(client=web_client, user=user)

    assert events() == []


def test_if_the_trail_can_not_be_written_tokens_are_still_issued(web_client, user, monkeypatch, traces):
    def fail(*args, **kwargs):
        raise DatabaseError("no such table")

    monkeypatch.setattr(audit_trail.SecurityEvent.objects, "using", fail)

    assert "refresh_token" in issue_tokens(client=web_client, user=user)

    monkeypatch.undo()
    assert events() == []
    assert any("no such table" in line for line in traces.logged)


def test_nobody_can_fill_the_trail_with_failures(web_client, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "FAILURES_PER_MINUTE": 5}
    form = {"grant_type": "refresh_token", "client_secret": "x"}

    for attempt in range(20):
        post_form({**form, "client_id": web_client.client_id})
        post_form({**form, "client_id": f"invented-{attempt}"})

    assert SecurityEvent.objects.filter(client_id=web_client.client_id).count() == 5
    assert SecurityEvent.objects.filter(client_id="").count() == 5


def test_a_forked_process_begins_without_the_replays_and_the_lock_of_its_parent(monkeypatch):
    """The parent's lock may be held by a thread that does not exist in the child."""
    parents = audit_trail._lock
    audit_trail._replays[uuid.uuid4()] = 1

    audit_trail._forget()

    assert audit_trail._lock is not parents
    assert not audit_trail._replays
