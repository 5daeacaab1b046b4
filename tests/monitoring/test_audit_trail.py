"""The audit trail; each test takes a real path through the service."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from django_ciam_token import signals
from django_ciam_token.api import RevocationReason, issue_tokens, revoke_sessions, rotate_client_secret
from django_ciam_token.caller import NOBODY
from django_ciam_token.concealed import Concealed
from django_ciam_token.keys import signing_keys
from django_ciam_token.models import Client, EventType, RefreshToken, RevokedAccessToken, SecurityEvent
from django_ciam_token.monitoring import audit_trail
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.tokens.recognition import session_of_token
from django_ciam_token.views import throttling
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


def test_client_credentials_write_nothing_and_are_logged(machine, traces):
    form = {"grant_type": "client_credentials", "scope": "profile"}
    form |= {"client_id": machine.client_id, "client_secret": machine.plain_secret}
    assert post_form(form).status_code == 200

    with CaptureQueriesContext(connection) as queries:
        assert post_form(form).status_code == 200

    assert [query["sql"].split()[0] for query in queries] == ["SELECT"]
    assert events() == []
    assert len(logged(traces, "issued")) == 2


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


def test_a_replay_from_somewhere_else_is_an_event_of_its_own(web_client, first_tokens, traces):
    """It may be the thief's."""
    form = {
        "grant_type": "refresh_token",
        "client_id": web_client.client_id,
        "client_secret": web_client.plain_secret,
        "refresh_token": first_tokens["refresh_token"],
    }
    addresses = ("192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2")

    post_form(form, REMOTE_ADDR="192.0.2.1")
    for address in addresses:
        post_form(form, REMOTE_ADDR=address)

    recorded = SecurityEvent.objects.filter(event="replayed").order_by("pk")
    assert list(recorded.values_list("address", flat=True)) == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
    lines = logged(traces, "replayed")
    assert [f"'address': '{address}'" in line for address, line in zip(addresses, lines, strict=True)] == [
        True
    ] * len(addresses)


def test_nobody_can_fill_the_trail_with_replays_of_a_token(web_client, first_tokens):
    form = {
        "grant_type": "refresh_token",
        "client_id": web_client.client_id,
        "client_secret": web_client.plain_secret,
        "refresh_token": first_tokens["refresh_token"],
    }

    for number in range(60):
        assert post_form(form, REMOTE_ADDR=f"2001:db8:0:{number:x}::1").status_code == 200

    assert SecurityEvent.objects.filter(event="replayed").count() == 20
    assert all(len(known.networks) == 20 for known in audit_trail._replays.values())


def test_nobody_can_fill_the_trail_by_revoking_access_tokens(web_client, first_tokens, refresh):
    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}
    tokens = first_tokens

    for _ in range(25):
        tokens = refresh(web_client, tokens["refresh_token"]).json()
        post_form({**form, "token": tokens["access_token"]}, url="/oauth2/revoke")

    assert SecurityEvent.objects.filter(event="revoked").count() == 20
    assert RevokedAccessToken.objects.count() == 25


def test_tokens_without_a_session_are_recorded_one_by_one(web_client, monkeypatch):
    for _ in range(25):
        signals.access_token_revoked.send(None, session_id=None, client=web_client, caller=NOBODY)

    assert SecurityEvent.objects.filter(event="revoked").count() == 25


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


class Gone:
    """A cache that is unavailable."""

    def get(self, *args):
        raise ConnectionError("no cache")

    set = get


@pytest.mark.parametrize("broken", [True, False])
def test_nobody_can_fill_the_trail_from_one_network(web_client, monkeypatch, broken):
    """A /64 is what a single host has. Without the cache, one address must not be enough either."""
    if broken:
        monkeypatch.setattr(throttling.FailureThrottle, "cache", Gone())
    form = {"grant_type": "refresh_token", "client_id": web_client.client_id, "client_secret": "x"}

    for number in range(400):
        post_form(form, REMOTE_ADDR="2001:db8::1" if broken else f"2001:db8::{number:x}")

    assert SecurityEvent.objects.count() == 300


@pytest.mark.parametrize("limit", [300, None])
def test_a_process_writes_a_limited_number_of_failures_wherever_they_come_from(
    web_client, settings, limit, traces
):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "FAILURES_PER_MINUTE": limit}
    form = {"grant_type": "refresh_token", "client_id": web_client.client_id, "client_secret": "x"}

    for number in range(400):
        post_form(form, REMOTE_ADDR=f"2001:db8:0:{number:x}::1")

    assert 300 <= SecurityEvent.objects.count() <= 302
    assert len(logged(traces, "failures_not_recorded")) == 1


def test_a_forked_process_begins_without_the_replays_and_the_lock_of_its_parent(monkeypatch):
    """The parent's lock may be held by a thread that does not exist in the child."""
    parents = audit_trail._lock
    audit_trail._replays[uuid.uuid4()] = 1

    audit_trail.forget()

    assert audit_trail._lock is not parents
    assert not audit_trail._replays
