"""Refresh tokens of another package: from their first use on they work like ours."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.checks import Error
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections
from django.db.models import F
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.checks import check_settings
from django_ciam_token.concealed import Concealed
from django_ciam_token.keys import key_set
from django_ciam_token.models import Client, ForeignToken, RefreshToken
from django_ciam_token.purging import purge
from django_ciam_token.sessions import adoption, foreign
from django_ciam_token.sessions.adoption import adopt
from django_ciam_token.sessions.foreign import EndedToken, key_of
from django_ciam_token.tokens import foreign as foreign_tokens
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory
from tests.other_package import ASKED, CONSULTED, FORMAT, KNOWN, SETTINGS, live

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("other_tokens_accepted")]

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
REFUSED = (400, b'{"error": "invalid_grant"}')


def answer(response):
    return response.status_code, response.content


def brought(client, user, **fields):
    """A token that was imported."""
    text, token = live(client, user, **fields)
    adopt([token], name=FORMAT, clients={client.client_id: client}, now=timezone.now())
    return text, token


def let_time_pass(**amount):
    step = timedelta(**amount)
    RefreshToken.objects.update(
        issued_at=F("issued_at") - step, rotated_at=F("rotated_at") - step, expires_at=F("expires_at") - step
    )


# --- the first refresh -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arrival", [live, brought], ids=["at its first use", "imported"])
def test_a_token_becomes_a_session_and_its_successors_are_ours(web_client, user, refresh, arrival):
    signed_in = timezone.now() - 50 * DAY
    text, _ = arrival(web_client, user, scope="openid email", auth_time=signed_in)

    first = refresh(web_client, text).json()
    second = refresh(web_client, first["refresh_token"]).json()

    assert first["scope"] == second["scope"] == "openid email"
    assert first["refresh_token"].startswith("ciam_rt1_")
    session = RefreshToken.objects.get()
    assert (session.user, session.client, session.auth_time) == (user, web_client, signed_in)
    assert session.generation == adoption.FIRST_GENERATION + 2
    assert ForeignToken.objects.get().session_id == session.pk


@pytest.mark.parametrize("arrival", [live, brought], ids=["at its first use", "imported"])
def test_a_lost_answer_is_given_again(web_client, user, refresh, arrival):
    text, _ = arrival(web_client, user)

    first = refresh(web_client, text).json()
    again = refresh(web_client, text).json()

    assert again["refresh_token"] == first["refresh_token"]
    assert RefreshToken.objects.count() == 1


@pytest.mark.parametrize("arrival", [live, brought], ids=["at its first use", "imported"])
def test_after_the_grace_period_it_is_a_reuse(web_client, user, refresh, traces, arrival):
    text, _ = arrival(web_client, user)
    successor = refresh(web_client, text).json()["refresh_token"]
    let_time_pass(minutes=1)

    assert answer(refresh(web_client, text)) == REFUSED

    assert RefreshToken.objects.get().revoked_reason == "reuse"
    assert answer(refresh(web_client, successor)) == REFUSED
    assert any("'event': 'reuse_detected'" in line for line in traces.logged)
    assert not any(text in line for line in traces.logged)


def test_another_spelling_of_a_used_token_is_a_reuse_and_no_new_session(web_client, user, refresh):
    text, _ = live(web_client, user)
    refresh(web_client, refresh(web_client, text).json()["refresh_token"])

    assert answer(refresh(web_client, text.upper())) == REFUSED

    assert RefreshToken.objects.get().revoked_reason == "reuse"


@pytest.mark.parametrize("arrival", [live, brought], ids=["at its first use", "imported"])
def test_simultaneous_first_refreshes_get_the_same_successor(web_client, user, refresh, arrival):
    threads = 12
    barrier = threading.Barrier(threads, timeout=60)

    def one(text):
        barrier.wait()
        try:
            return refresh(web_client, text)
        finally:
            connections.close_all()

    for _ in range(3):
        text, _token = arrival(web_client, user)
        with ThreadPoolExecutor(threads) as pool:
            answers = list(pool.map(one, [text] * threads))
        assert [response.status_code for response in answers] == [200] * threads
        assert len({response.json()["refresh_token"] for response in answers}) == 1
    assert RefreshToken.objects.count() == ForeignToken.objects.count() == 3
    assert not RefreshToken.objects.exclude(revoked_at=None).exists()


def test_without_a_grace_period_one_of_two_first_uses_succeeds(web_client, user, refresh):
    Client.objects.update(refresh_token_grace_period=timedelta(0))
    text, _ = live(web_client, user)

    assert refresh(web_client, text).status_code == 200
    assert answer(refresh(web_client, text)) == REFUSED
    assert RefreshToken.objects.get().revoked_reason == "reuse"


def test_a_commit_whose_outcome_is_unknown_makes_one_session(web_client, user, refresh, break_next_commit):
    text, _ = live(web_client, user)
    assert break_next_commit() == []

    assert refresh(web_client, text).status_code == 200

    assert RefreshToken.objects.count() == 1


# --- what a token must not do ----------------------------------------------------------------------------


def test_another_client_can_neither_use_a_token_nor_end_its_session(web_client, user, refresh):
    other = ClientFactory()
    text, _ = live(web_client, user)
    used, _ = live(web_client, user)
    refresh(web_client, refresh(web_client, used).json()["refresh_token"])
    KNOWN[b"old-ended"] = EndedToken(at=timezone.now() - DAY, current=KNOWN[text.encode()])

    for presented in (text, used, "old-ended"):
        assert answer(refresh(other, presented)) == REFUSED

    assert not RefreshToken.objects.exclude(revoked_at=None).exists()
    assert refresh(web_client, text).status_code == 200


def test_an_unknown_token_is_refused_and_leaves_nothing_behind(web_client, refresh):
    assert answer(refresh(web_client, "old-guessed")) == REFUSED

    assert not RefreshToken.objects.exists()
    assert not ForeignToken.objects.exists()


def test_the_tokens_of_a_disabled_user_are_refused_until_the_user_is_enabled(web_client, user, refresh):
    text, _ = live(web_client, user)
    type(user).objects.update(is_active=False)

    assert answer(refresh(web_client, text)) == REFUSED

    type(user).objects.update(is_active=True)
    assert refresh(web_client, text).status_code == 200


def test_a_new_password_ends_what_was_imported(web_client, user, refresh):
    text, _ = brought(web_client, user)
    user.set_password("another")
    user.save()

    assert answer(refresh(web_client, text)) == REFUSED


def test_a_scope_that_the_client_is_not_allowed_is_refused(web_client, user, refresh):
    text, _ = live(web_client, user, scope="openid payments")

    assert answer(refresh(web_client, text)) == REFUSED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scope": ""}, "it has no scope"),
        ({"expires_at": timezone.now() - MINUTE}, "it has expired"),
        ({"user_id": None}, "its user is gone"),
        ({"user_id": 999_999_999}, "its user is gone"),
        ({"client_id": "nobody"}, "its client is not here"),
    ],
)
def test_what_can_not_be_a_session_is_refused(web_client, user, refresh, traces, change, reason):
    text, token = live(web_client, user)
    KNOWN[text.encode()] = replace(token, **change)

    assert answer(refresh(web_client, text)) == REFUSED

    assert not ForeignToken.objects.exists()
    assert any(reason in line for line in traces.logged)


def test_a_machine_has_no_sessions_of_users(machine, user, refresh):
    text, _ = live(machine, user)

    assert answer(refresh(machine, text)) == REFUSED


def test_a_session_that_was_ended_or_purged_does_not_begin_again(web_client, user, refresh):
    ended, _ = brought(web_client, user)
    purged, _ = brought(web_client, user)
    first, second = RefreshToken.objects.order_by("pk")
    RefreshToken.objects.filter(pk=first.pk).update(revoked_at=timezone.now())
    second.delete()

    assert answer(refresh(web_client, ended)) == answer(refresh(web_client, purged)) == REFUSED

    assert [session.pk for session in RefreshToken.objects.all()] == [first.pk]


def test_a_user_who_is_deleted_during_the_import_is_left_out(web_client, user, monkeypatch):
    _, token = live(web_client, user)
    other = UserFactory()
    _, stays = live(web_client, other)
    make = adoption._session

    def late(token, client, found, *, now):
        type(user).objects.filter(pk=user.pk).delete()
        return make(token, client, found, now=now)

    monkeypatch.setattr(adoption, "_session", late)

    done = adopt([token, stays], name=FORMAT, clients={web_client.client_id: web_client}, now=timezone.now())

    assert [session.user_id for session in done.made] == [other.pk]
    assert dict(done.left_out) == {"its user is gone": 1}
    assert ForeignToken.objects.count() == 1


# --- what the other system has done meanwhile ------------------------------------------------------------


def test_a_token_that_was_rotated_there_after_its_import_is_not_accepted(web_client, user, refresh):
    text, token = brought(web_client, user)
    successor, current = live(web_client, user)
    KNOWN[token.known_by] = EndedToken(at=timezone.now() - 10 * MINUTE, current=current)

    assert answer(refresh(web_client, text)) == REFUSED

    # And because an old token was used, the sign-in's session ends, as it does for any token of ours.
    assert answer(refresh(web_client, successor)) == REFUSED


def test_a_token_that_was_rotated_there_just_now_ends_nothing(web_client, user, refresh):
    text, token = brought(web_client, user)
    successor, current = live(web_client, user)
    KNOWN[token.known_by] = EndedToken(at=timezone.now(), current=current)

    assert answer(refresh(web_client, text)) == REFUSED

    assert refresh(web_client, successor).status_code == 200


def test_a_token_that_is_gone_there_is_not_accepted(web_client, user, refresh):
    text, token = brought(web_client, user)
    del KNOWN[token.known_by]

    assert answer(refresh(web_client, text)) == REFUSED

    assert RefreshToken.objects.get().revoked_reason == "reuse"


def test_once_it_was_refreshed_here_the_other_system_is_not_asked_any_more(web_client, user, refresh):
    text, _ = live(web_client, user)
    first = refresh(web_client, text).json()
    KNOWN.clear()
    ASKED.clear()

    assert refresh(web_client, text).json()["refresh_token"] == first["refresh_token"]
    assert ASKED == []


def test_when_the_other_system_is_gone_what_was_imported_is_accepted(web_client, user, refresh):
    text, _ = brought(web_client, user)
    late, _ = live(web_client, user)
    CONSULTED[:] = [False]

    assert refresh(web_client, text).status_code == 200
    assert answer(refresh(web_client, late)) == REFUSED


def test_a_thief_with_a_token_older_than_the_imported_one_ends_the_session(web_client, user, refresh, traces):
    text, current = brought(web_client, user)
    KNOWN[b"old-stolen"] = EndedToken(at=timezone.now() - DAY, current=current)
    successor = refresh(web_client, text).json()["refresh_token"]

    assert answer(refresh(web_client, "old-stolen")) == REFUSED

    assert answer(refresh(web_client, successor)) == REFUSED
    assert any("'event': 'reuse_detected'" in line for line in traces.logged)


def test_an_old_token_of_a_sign_in_that_is_over_is_refused(web_client, user, refresh):
    _, current = live(web_client, user)
    type(user).objects.filter(pk=user.pk).delete()
    KNOWN[b"old-1"] = EndedToken(at=timezone.now() - DAY)
    KNOWN[b"old-2"] = EndedToken(at=timezone.now() - DAY, current=current)

    assert answer(refresh(web_client, "old-1")) == answer(refresh(web_client, "old-2")) == REFUSED


# --- how long ------------------------------------------------------------------------------------------


def test_it_lasts_as_long_as_there_but_at_most_as_long_as_a_session_here(web_client, user):
    now = timezone.now()
    for expires_at in (now + 3 * DAY, now + 90 * DAY, None):
        brought(web_client, user, expires_at=expires_at)
    Client.objects.filter(pk=web_client.pk).update(session_lifetime=None)
    with override_settings(CIAM_TOKEN={**SETTINGS, "SESSION_LIFETIME": None}):
        brought(web_client, user)

    lasting = [session.expires_at - now for session in RefreshToken.objects.order_by("pk")]

    assert [round(time / DAY) for time in lasting] == [3, 30, 30, 3650]
    needed = [row.needed_until for row in ForeignToken.objects.all()]
    assert sorted(round((until - now) / DAY) for until in needed if until) == [30, 90]
    assert needed.count(None) == 2


def test_how_many_end_earlier_than_there_is_counted(web_client, user):
    now = timezone.now()
    tokens = [
        live(web_client, user, expires_at=expires_at)[1] for expires_at in (now + DAY, now + 90 * DAY, None)
    ]

    done = adopt(tokens, name=FORMAT, clients={web_client.client_id: web_client}, now=now)

    assert (len(done.made), done.shortened) == (3, 2)


def test_what_was_used_there_since_its_import_lasts_longer_here_too(web_client, user, refresh):
    now = timezone.now()
    text, token = brought(web_client, user, expires_at=now + MINUTE, is_expiry_final=False)
    assert ForeignToken.objects.get().needed_until is None
    let_time_pass(minutes=5)
    KNOWN[token.known_by] = replace(token, expires_at=now + DAY)

    assert refresh(web_client, text).status_code == 200


def test_what_was_not_used_there_lasts_as_long_as_it_did(web_client, user, refresh):
    expires_at = timezone.now() + DAY
    text, _ = brought(web_client, user, expires_at=expires_at)

    with CaptureQueriesContext(connection) as queries:
        foreign_tokens.resolve(Concealed(text), now=timezone.now())

    assert not any(query["sql"].startswith("UPDATE") for query in queries)
    assert RefreshToken.objects.get().expires_at == expires_at


def test_what_is_known_of_a_token_is_forgotten_when_nobody_would_accept_it_any_more(web_client, user):
    now = timezone.now()
    brought(web_client, user, expires_at=now + 3 * DAY)
    brought(web_client, user)

    assert purge(now=now + 29 * DAY).foreign_tokens == 0
    assert purge(now=now + 31 * DAY).foreign_tokens == 1
    assert ForeignToken.objects.get().needed_until is None


# --- the other endpoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arrival", [live, brought], ids=["at its first use", "imported"])
def test_signing_out_with_a_token_that_was_never_refreshed_here(web_client, user, refresh, arrival):
    text, _ = arrival(web_client, user)
    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}

    assert post_form({**form, "token": text}, url="/oauth2/revoke").status_code == 200

    assert answer(refresh(web_client, text)) == REFUSED
    assert RefreshToken.objects.get().revoked_reason == "client"


def test_it_introspects_as_active(web_client, user):
    text, _ = live(web_client, user)
    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}

    body = post_form({**form, "token": text}, url="/oauth2/introspect").json()
    unknown = post_form({**form, "token": "old-unknown"}, url="/oauth2/introspect").json()

    assert (body["active"], body["sub"]) == (True, str(user.pk))
    assert unknown == {"active": False}


# --- what it costs ----------------------------------------------------------------------------------------


def test_a_token_of_ours_costs_nothing_for_it(web_client, user, refresh):
    token = issue_tokens(client=web_client, user=user)["refresh_token"]

    def statements(token, settings):
        with override_settings(CIAM_TOKEN=settings), CaptureQueriesContext(connection) as queries:
            refresh(web_client, token)
        return len(queries)

    key_set.current()
    forged = f"{token[:-3]}AAA"
    without = {"ISSUER": SETTINGS["ISSUER"]}
    for _ in range(2):  # Of the replays that follow only the first is written down.
        refresh(web_client, token)
    for presented in (token, forged, token[:-1], "ciam_rt9_other", "ciam_xx1_code"):
        assert statements(presented, SETTINGS) == statements(presented, without)
    assert ASKED == []


def test_when_no_format_is_accepted_any_other_string_costs_no_query(web_client, user, refresh):
    text, _ = brought(web_client, user)

    with override_settings(CIAM_TOKEN={"ISSUER": SETTINGS["ISSUER"]}):
        with CaptureQueriesContext(connection) as queries:
            assert answer(refresh(web_client, text)) == REFUSED
        assert not any("foreigntoken" in query["sql"] for query in queries)


def test_a_string_that_no_format_recognises_costs_no_query(web_client, refresh):
    with CaptureQueriesContext(connection) as queries:
        assert answer(refresh(web_client, "something else")) == REFUSED

    assert not any("foreigntoken" in query["sql"] for query in queries)


# --- formats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formats", [{"unknown": {}}, {"no.such.Format": {}}, {FORMAT: {"colour": "red"}}, {FORMAT: None}]
)
def test_a_wrong_format_is_a_mistake_in_the_settings(formats):
    with (
        override_settings(CIAM_TOKEN={**SETTINGS, "FOREIGN_TOKENS": formats}),
        pytest.raises(ImproperlyConfigured, match="FOREIGN_TOKENS"),
    ):
        foreign.formats()
    with override_settings(CIAM_TOKEN={**SETTINGS, "FOREIGN_TOKENS": formats}):
        found = next(message for message in check_settings(None) if isinstance(message, Error))
    assert found.id == "django_ciam_token.E003"


def test_tokens_of_two_formats_are_never_the_same():
    assert key_of("a", b"bc") != key_of("ab", b"c")
    assert key_of("a", b"x") == key_of("a", b"x")


def test_nothing_shows_what_a_token_is_known_by(web_client, user):
    text, token = brought(web_client, user)

    assert text not in repr(token)
    assert text not in str(ForeignToken.objects.get())


def test_the_repr_of_an_identity_shows_nothing_of_the_token():
    identity = foreign.ForeignIdentity(known_by=b"the spelling", secret=b"the secret")

    assert "the s" not in repr(identity)
