"""The page that says what a pasted token is."""

from __future__ import annotations

import base64
import json
import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from django_ciam_token.admin import token_inspection
from django_ciam_token.admin.token_inspection import Kind, inspect
from django_ciam_token.api import RevocationReason, issue_tokens, revoke_sessions
from django_ciam_token.caller import NOBODY
from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import refresh_token_string, site_keys
from django_ciam_token.crypto.refresh_token_string import GenuineToken
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import RefreshRefusal, RefreshToken, SecurityEvent, SigningKey
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.tokens import access_tokens
from django_ciam_token.tokens.authorization_codes import issue_code
from tests.conftest import post_form
from tests.factories import ClientFactory
from tests.operators import browser_of, refuse, url

pytestmark = pytest.mark.django_db

PAGE = "refreshtoken_find_by_token"


def look(token):
    return inspect(Concealed(token), now=timezone.now())


def said(browser, token):
    """The text of the answer, without its markup."""
    response = browser.post(url(PAGE), {"token": token})
    assert response.status_code == 200
    page = response.content.decode()
    assert not token or token not in page
    return " ".join(strip_tags(page.partition("ciam-inspection")[2]).split())


@pytest.mark.parametrize("kind", ["refresh_token", "superseded", "access_token", "id_token"])
def test_a_session_is_found_by_any_token_of_it(operator, session, web_client, first_tokens, refresh, kind):
    newer = refresh(web_client, first_tokens["refresh_token"]).json()
    tokens = {**newer, "superseded": first_tokens["refresh_token"]}

    response = operator.post(url(PAGE), {"token": f" {tokens[kind]}\n"})

    page = response.content.decode()
    assert response.status_code == 200
    assert f'href="{url("refreshtoken_change", session.pk)}"' in page
    assert tokens[kind] not in page
    assert "operator" in page.partition('id="user-tools"')[2][:300]
    assert "no-store" in response["Cache-Control"]


def test_the_generations_of_a_refresh_token(web_client, first_tokens, refresh):
    first = first_tokens["refresh_token"]
    second = refresh(web_client, first).json()["refresh_token"]

    current, predecessor = look(second), look(first)
    assert (current.kind, current.is_genuine, current.is_live) == (Kind.REFRESH, True, True)
    assert current.position == "the current one"
    assert predecessor.is_live is True
    assert predecessor.position == "the predecessor of the current one"
    assert "successor again" in predecessor.verdict

    refresh(web_client, second)
    reused = look(first)

    assert reused.is_live is False
    assert reused.position == "superseded 2 refreshes ago"
    assert "reuse" in reused.verdict
    assert dict(reused.says)["generation"] == "0"


def test_looking_at_a_superseded_token_ends_nothing_and_writes_nothing(
    operator, session, web_client, first_tokens, refresh, caplog
):
    refresh(web_client, refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"])
    before = RefreshToken.objects.values().get()
    counted = [model.objects.count() for model in (SecurityEvent, RefreshRefusal, LogEntry)]

    said(operator, first_tokens["refresh_token"])

    assert RefreshToken.objects.values().get() == before
    assert [model.objects.count() for model in (SecurityEvent, RefreshRefusal, LogEntry)] == counted
    assert first_tokens["refresh_token"] not in caplog.text


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"user__is_active": False}, "user disabled"),
        ({"client__is_active": False}, "client disabled"),
        ({"client__refresh_tokens_enabled": False}, "refresh tokens switched off"),
        ({"client__scope": "email"}, "scope withdrawn"),
        ({"revoked_at": timezone.now()}, "the session had been ended"),
        ({"expires_at": timezone.now() - timedelta(days=1)}, "the session had expired"),
    ],
)
def test_a_refresh_token_that_would_be_refused_says_why(session, first_tokens, change, verdict):
    [(name, value)] = change.items()
    owner, _, field = name.rpartition("__")
    row = getattr(session, owner) if owner else session
    setattr(row, field, value)
    row.save()

    found = look(first_tokens["refresh_token"])

    assert (found.is_genuine, found.is_live, found.verdict) == (True, False, verdict)


def test_an_access_token_is_decoded_and_judged(operator, session, first_tokens):
    token = first_tokens["access_token"]
    found = look(token)
    assert (found.kind, found.is_genuine, found.is_live) == (Kind.ACCESS, True, True)
    says = dict(found.says)
    assert says["sid"] == str(session.pk)
    assert re.search(r"\(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", says["exp"])
    assert "Access token" in said(operator, token)

    revoke_sessions(SessionCriteria(user=session.user), reason=RevocationReason.OPERATOR)

    found = look(token)
    assert (found.is_genuine, found.is_live) == (True, False)
    assert "its session has ended" in found.verdict


def test_an_access_token_that_has_expired_or_lost_its_user_says_so(session, first_tokens):
    token = Concealed(first_tokens["access_token"])

    late = inspect(token, now=timezone.now() + timedelta(days=2))
    assert (late.is_live, late.verdict) == (False, "It has expired.")

    session.user.is_active = False
    session.user.save()
    assert look(first_tokens["access_token"]).verdict == "user disabled"


def test_an_id_token_is_recognised(first_tokens, session):
    found = look(first_tokens["id_token"])

    assert (found.kind, found.is_genuine, found.is_live) == (Kind.ID, True, None)
    assert found.session == session


def test_why_a_jwt_is_not_genuine(first_tokens, settings, monkeypatch):
    header, claims, signature = first_tokens["access_token"].split(".")
    forged = f"{header}.{claims}.{signature[:-8]}AAAAAAAA"

    assert "forged or damaged" in look(forged).forgery
    assert dict(look(forged).says)["sub"]
    assert look(forged).session_id is None

    SigningKey.objects.update(kid="another")
    assert "No key of this service" in look(forged).forgery
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ISSUER": "https://elsewhere.example"}
    assert "issuer" in look(forged).forgery


def test_a_forged_refresh_token_and_a_cut_one_say_why(first_tokens):
    token = first_tokens["refresh_token"]
    forged = token[:-6] + ("AAAAAA" if not token.endswith("AAAAAA") else "BBBBBB")

    assert "MAC is wrong" in look(forged).forgery
    assert "a part is missing" in look(token[:-1]).forgery
    assert look(forged).session_id is None


def test_finding_by_token_says_when_the_session_is_gone(operator, first_tokens):
    RefreshToken.objects.all().delete()

    assert "no longer stored" in said(operator, first_tokens["refresh_token"])
    assert "no longer stored" in said(operator, first_tokens["access_token"])


@pytest.mark.parametrize(
    "token",
    ["ciam_rt1_garbage", "ciam_ac1_garbage", "a.b.c", "e30.e30.", "e30.W10.x", "\U0001f600", "x" * 8_000],
)
def test_anything_else_is_never_genuine_and_never_an_error(operator, token):
    assert "Refused" not in said(operator, token)
    assert look(token).is_genuine is False


@pytest.mark.parametrize("text", ["\ud800", "\x00", "x" * 500])
def test_a_jwt_with_odd_strings_is_never_an_error(operator, text):
    parts = [
        {"alg": "RS256", "kid": text, text: text},
        {"iss": ciam_settings.ISSUER, "name": text, text: [text]},
    ]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]

    said(operator, ".".join([*encoded, "AAAA"]))


def test_looking_at_a_token_that_was_never_issued_raises_no_alarm(session, caplog):
    presented = GenuineToken(session.pk, session.generation + 5, refresh_token_string.new_secret())
    found = look(refresh_token_string.encode(presented, site_keys.token_keys()[0]))

    assert found.is_live is False
    assert "somebody may know the site's secret" in found.verdict
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("token", ["", "x" * 9_000, "\x00"])
def test_what_can_be_no_token_is_refused_by_the_form(operator, token):
    response = operator.post(url(PAGE), {"token": token})

    assert response.status_code == 200
    assert response.context["form"].errors
    assert "value=" not in str(response.context["form"]["token"])


def test_a_client_secret_is_recognised_and_said_to_be_replaced(operator, web_client):
    assert "should be replaced" in said(operator, web_client.plain_secret)


def test_an_access_token_without_a_session_is_reported_as_such(operator, user):
    client = ClientFactory(refresh_tokens_enabled=False)
    token = issue_tokens(client=client, user=user)["access_token"]

    RefreshToken.objects.all().delete()

    assert "Access token" in said(operator, token)


def test_a_machines_token_belongs_to_no_session(operator, machine):
    form = {"grant_type": "client_credentials", "client_id": machine.client_id}
    token = post_form({**form, "client_secret": machine.plain_secret}).json()["access_token"]

    assert "It belongs to no session" in said(operator, token)


def test_the_page_makes_as_many_queries_with_many_sessions_as_with_one(
    operator, web_client, first_tokens, user
):
    def count():
        with CaptureQueriesContext(connection) as queries:
            said(operator, first_tokens["refresh_token"])
        return len(queries)

    count()
    one = count()
    for _ in range(5):
        issue_tokens(client=web_client, user=user)

    assert count() == one


def test_a_token_in_the_address_is_not_looked_at(operator, first_tokens):
    page = operator.get(url(PAGE), {"token": first_tokens["refresh_token"]}).content.decode()

    assert "ciam-inspection" not in page
    assert 'autocomplete="off"' in page


def test_finding_by_token_survives_an_unavailable_database(operator, monkeypatch):
    monkeypatch.setattr(access_tokens, "verify", refuse)

    response = operator.post(url(PAGE), {"token": "e30.e30.AAAA"})

    assert "The database is temporarily unavailable" in response.content.decode()


def test_finding_by_token_needs_the_permission_to_view_sessions():
    assert browser_of("view_client").get(url(PAGE)).status_code == 403


def test_a_token_of_a_removed_key_says_so(first_tokens):
    now = timezone.now()
    signing_keys.rotate(algorithm="ES256")
    SigningKey.objects.filter(algorithm="RS256").update(removed_at=now - timedelta(seconds=1))
    key_set.forget()

    assert "was removed" in look(first_tokens["access_token"]).forgery


def test_a_code_says_whether_it_has_been_exchanged(web_client, user):
    web_client.redirect_uris = "https://app.example.com/callback"
    web_client.save()
    now = timezone.now()
    code = issue_code(
        client=web_client,
        user=user,
        scope=("openid",),
        auth_time=now,
        redirect_uri=web_client.redirect_uris,
        code_challenge=None,
        nonce=None,
        caller=NOBODY,
        now=now,
    ).reveal()

    found = look(code)
    assert (found.kind, found.is_live, found.verdict) == (Kind.CODE, True, "It has not been exchanged.")
    RefreshToken.objects.update(nonce=b"exchanged")
    found = look(code)
    assert (found.is_live, found.verdict) == (False, "It has been exchanged.")
    RefreshToken.objects.all().delete()
    assert look(code).verdict == "The session is no longer stored."


def test_dates_that_no_calendar_has_are_shown_as_numbers():
    assert token_inspection._value("exp", 10**30) == str(10**30)


@pytest.mark.parametrize("claims", [{}, {"sid": "no id"}])
def test_an_id_token_without_a_session_is_recognised(claims):
    found = token_inspection._id_token({"exp": 0, **claims}, [], timezone.now())

    assert (found.kind, found.session_id, found.verdict) == (Kind.ID, None, "It has expired.")


def test_a_generation_ahead_of_the_session_was_never_issued(session):
    ahead = GenuineToken(session.pk, session.generation + 1, refresh_token_string.new_secret())

    assert token_inspection._position(session, ahead) == "one that this database never issued"
