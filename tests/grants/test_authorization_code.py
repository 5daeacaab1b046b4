"""What happens to a code: exchanged, lost, repeated, intercepted, stolen, withdrawn."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import jwt
import pytest
from django.db import connection
from django.db.models import F
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.api import issue_tokens, list_sessions
from django_ciam_token.caller import NOBODY
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import authorization_code_string, refresh_token_string, site_keys
from django_ciam_token.crypto.authorization_code_string import Binding
from django_ciam_token.errors import InvalidGrant, InvalidRequest, UnauthorizedClient
from django_ciam_token.keys import key_set
from django_ciam_token.models import Client, Consent, RefreshToken
from django_ciam_token.purging import PurgeResult, purge
from django_ciam_token.tokens.authorization_codes import issue_code
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db

INVALID_GRANT = b'{"error": "invalid_grant"}'
REDIRECT_URI = "https://app.example.com/callback?tenant=1"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.fixture
def web_client(db):
    return ClientFactory(redirect_uris=f"https://other.example.com/cb {REDIRECT_URI}")


@pytest.fixture
def spa_client(db):
    return ClientFactory(application_type="spa", redirect_uris=REDIRECT_URI)


def code_for(client, user, **changes):
    fields = {
        "scope": ("openid", "profile"),
        "auth_time": timezone.now() - timedelta(minutes=3),
        "redirect_uri": REDIRECT_URI,
        "code_challenge": CHALLENGE,
        "nonce": "n-0S6_WzA2Mj",
        "caller": NOBODY,
        "now": timezone.now(),
    }
    return issue_code(client=client, user=user, **{**fields, **changes}).reveal()


def form_for(client, presented, **changes):
    form = {
        "grant_type": "authorization_code",
        "code": presented,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
        "client_id": client.client_id,
        "client_secret": getattr(client, "plain_secret", None),
        **changes,
    }
    return {name: value for name, value in form.items() if value is not None}


def exchange(client, presented, **changes):
    return post_form(form_for(client, presented, **changes))


def assert_refused(response):
    assert response.status_code == 400
    assert response.content == INVALID_GRANT


def assert_live(**where):
    assert RefreshToken.objects.filter(**where).get().revoked_at is None


def reasons(traces):
    refusals = [line for line in traces.logged if "refused:" in line]
    return [line.partition("'reason': '")[2].partition("'")[0] for line in refusals]


def ended(traces):
    return sum("'event': 'reuse_detected'" in line for line in traces.logged)


def let_time_pass(seconds):
    step = timedelta(seconds=seconds)
    RefreshToken.objects.update(
        issued_at=F("issued_at") - step, rotated_at=F("rotated_at") - step, expires_at=F("expires_at") - step
    )


def decoded(token):
    return jwt.decode(token, options={"verify_signature": False})


# --- the exchange ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["web_client", "spa_client"])
def test_a_code_is_exchanged_for_the_first_tokens_of_its_session(kind, user, refresh, request):
    client = request.getfixturevalue(kind)
    signed_in = timezone.now() - timedelta(minutes=3)

    response = exchange(client, code_for(client, user, auth_time=signed_in))

    assert response.status_code == 200
    assert response["Cache-Control"] == "private, no-store"
    body = json.loads(response.content)
    assert list(body) == ["access_token", "refresh_token", "scope", "id_token", "token_type", "expires_in"]
    assert (body["scope"], body["token_type"]) == ("openid profile", "Bearer")
    assert body["expires_in"] in (299, 300)
    session = RefreshToken.objects.get()
    assert (session.generation, session.is_code, session.revoked_at) == (1, False, None)
    claims = decoded(body["id_token"])
    assert claims["nonce"] == "n-0S6_WzA2Mj"
    assert claims["auth_time"] == int(signed_in.timestamp())
    assert claims["sid"] == str(session.pk)
    assert claims["sub"] == str(user.pk)
    refreshed = refresh(client, body["refresh_token"]).json()
    assert "nonce" not in decoded(refreshed["id_token"])
    assert decoded(refreshed["id_token"])["auth_time"] == claims["auth_time"]


def test_without_a_nonce_there_is_none(web_client, user):
    body = exchange(web_client, code_for(web_client, user, nonce=None)).json()

    assert "nonce" not in decoded(body["id_token"])


def test_without_openid_there_is_no_id_token(web_client, user):
    body = exchange(web_client, code_for(web_client, user, scope=("profile",))).json()

    assert list(body) == ["access_token", "refresh_token", "scope", "token_type", "expires_in"]


def test_a_confidential_client_may_go_without_pkce(web_client, user):
    code = code_for(web_client, user, code_challenge=None)

    assert exchange(web_client, code, code_verifier=None).status_code == 200


def test_the_session_lasts_as_long_as_any_other(web_client, user):
    exchange(web_client, code_for(web_client, user))

    session = RefreshToken.objects.get()
    assert timedelta(hours=23, minutes=59) < session.expires_at - timezone.now() <= timedelta(days=1)


def test_an_exchange_makes_two_statements_beside_begin_and_commit(web_client, user):
    code = code_for(web_client, user)
    exchange(web_client, code_for(web_client, user))

    with CaptureQueriesContext(connection) as queries:
        assert exchange(web_client, code).status_code == 200

    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "SAVEPOINT", "UPDATE", "RELEASE"]


def test_issuing_a_code_is_one_insert(web_client, user):
    key_set.current()
    with CaptureQueriesContext(connection) as queries:
        code_for(web_client, user)

    assert [query["sql"].split()[0] for query in queries] == ["SAVEPOINT", "INSERT", "RELEASE"]


@pytest.mark.django_db(transaction=True)
def test_first_tokens_are_signalled_at_the_exchange_and_once(web_client, user, traces):
    code = code_for(web_client, user)
    assert traces.of(signals.tokens_issued) == []

    exchange(web_client, code)
    exchange(web_client, code)

    [arguments] = traces.of(signals.tokens_issued)
    assert (arguments["client"], arguments["user"]) == (web_client, user)
    assert arguments["session"].generation == 1
    assert traces.of(signals.tokens_refreshed) == []


def test_a_client_without_refresh_tokens_gets_none_and_its_access_token_is_good(web_client, user, settings):
    Client.objects.update(refresh_tokens_enabled=False)
    web_client.refresh_tokens_enabled = False
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUTHORIZATION_CODE_GRACE_PERIOD": 30}
    code = code_for(web_client, user)

    first, again = exchange(web_client, code).json(), exchange(web_client, code).json()

    for body in (first, again):
        assert list(body) == ["access_token", "scope", "id_token", "token_type", "expires_in"]
    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}
    asked = {**form, "token": first["access_token"]}
    assert post_form(asked, url="/oauth2/introspect").json()["active"] is True
    RefreshToken.objects.update(revoked_at=timezone.now())
    assert post_form(asked, url="/oauth2/introspect").json() == {"active": False}


# --- what a code is bound to -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"redirect_uri": "https://other.example.com/cb"}, "wrong_redirect_uri"),
        ({"redirect_uri": REDIRECT_URI + "&x=1"}, "wrong_redirect_uri"),
        ({"code_verifier": VERIFIER[:-1] + "x"}, "wrong_code_verifier"),
        ({"code_verifier": None}, "no_code_verifier"),
    ],
)
def test_an_interceptor_is_refused_and_the_code_stays_good_for_its_owner(
    web_client, user, traces, changes, reason
):
    code = code_for(web_client, user)

    assert_refused(exchange(web_client, code, **changes))

    assert reasons(traces) == [reason]
    assert exchange(web_client, code).status_code == 200
    # And after it was used, its owner's session goes on.
    assert_refused(exchange(web_client, code, **changes))
    assert_live()


def test_another_client_is_refused_and_the_code_stays_good_for_its_owner(web_client, user, traces):
    other = ClientFactory(redirect_uris=REDIRECT_URI)
    code = code_for(web_client, user)

    assert_refused(exchange(other, code))

    assert reasons(traces) == ["wrong_client"]
    assert exchange(web_client, code).status_code == 200
    assert_refused(exchange(other, code))
    assert_live(client=web_client)


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": None},
        {"code_verifier": "x" * 43},
        {"redirect_uri": "https://other.example.com/cb"},
        {"code": "garbage"},
        {"client": "another"},
    ],
    ids=str,
)
def test_a_client_that_tries_out_codes_is_slowed_down(web_client, user, settings, changes):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "FAILURES_PER_MINUTE": 1}
    other = ClientFactory(redirect_uris=REDIRECT_URI)
    client = other if "client" in changes else web_client
    wrong = {name: value for name, value in changes.items() if name != "client"}
    code = code_for(web_client, user)

    assert_refused(exchange(client, code, **wrong))
    assert exchange(client, code, **wrong).status_code == 429


def test_a_code_whose_row_was_given_to_another_client_is_good_for_neither(web_client, user):
    """As somebody could who can write the database but does not have the site's secrets."""
    other = ClientFactory(redirect_uris=REDIRECT_URI)
    code = code_for(web_client, user)
    RefreshToken.objects.update(client=other)

    assert_refused(exchange(other, code))
    assert_refused(exchange(web_client, code))


def test_a_verifier_where_there_was_no_challenge_is_refused(web_client, user, traces):
    code = code_for(web_client, user, code_challenge=None)

    assert_refused(exchange(web_client, code))

    assert reasons(traces) == ["wrong_code_verifier"]
    assert exchange(web_client, code, code_verifier=None).status_code == 200


def test_nothing_of_an_exchange_is_logged(web_client, user, traces):
    # `traces` looks for codes, verifiers and tokens after every test.
    nonce, wrong = "nonce-that-nobody-may-see", "verifier-that-nobody-may-see"
    code = code_for(web_client, user, nonce=nonce)

    exchange(web_client, code, code_verifier=wrong)
    exchange(web_client, code, code_verifier=f"{wrong}-although-it-is-well-formed")
    exchange(web_client, code)
    exchange(web_client, code)

    everything = "\n".join(traces.logged)
    assert "wrong_code_verifier" in everything
    for secret in (nonce, wrong, code, VERIFIER):
        assert secret not in everything


@pytest.mark.parametrize("verifier", ["short", "x" * 42, "x" * 129, "ä" * 43, "x" * 42 + " ", "x" * 8_000])
def test_a_malformed_verifier_is_a_wrong_one(web_client, user, traces, verifier):
    code = code_for(web_client, user)

    assert_refused(exchange(web_client, code, code_verifier=verifier))

    assert reasons(traces) == ["malformed_code_verifier"]
    assert exchange(web_client, code).status_code == 200


@pytest.mark.parametrize("name", ["code", "redirect_uri"])
def test_what_must_be_there(web_client, user, name):
    code = code_for(web_client, user)

    response = exchange(web_client, code, **{name: None})

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert name in response.json()["error_description"]
    assert exchange(web_client, code).status_code == 200


def test_a_parameter_sent_twice_is_an_invalid_request(web_client, user):
    code = code_for(web_client, user)
    fields = list(form_for(web_client, code).items())

    response = post_form([*fields, ("code", code)])

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "code", ["x", "ciam_ac1_", "ciam_ac1_" + "A" * 150, "ciam_ac1_A+A/", "ü", "x" * 8_000]
)
def test_garbage_is_refused_without_a_reading_of_sessions(web_client, code):
    exchange(web_client, code)

    with CaptureQueriesContext(connection) as queries:
        assert_refused(exchange(web_client, code))

    assert "refreshtoken" not in "".join(query["sql"] for query in queries)


@pytest.mark.parametrize("place", [0, 20, 50, 66, 82, 98, -1])
def test_a_code_of_which_anything_was_changed_is_refused_whatever_that_is(web_client, user, traces, place):
    # The last byte is the nonce's: with another one, somebody could use the code of somebody else.
    code = code_for(web_client, user)
    prefix, encoded = code[:9], code[9:]
    raw = bytearray(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    raw[place] ^= 1
    changed = prefix + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    assert_refused(exchange(web_client, changed))

    assert reasons(traces) == ["not_genuine"]
    assert exchange(web_client, code).status_code == 200


def test_a_code_that_this_database_never_issued_is_refused(web_client, user, traces):
    """As somebody could make it who has the site's secrets but not the database."""
    code_for(web_client, user)
    session = RefreshToken.objects.get()
    forged = refresh_token_string.GenuineToken(session.pk, 0, refresh_token_string.new_secret())
    binding = Binding(web_client.client_id, REDIRECT_URI, CHALLENGE)
    code = authorization_code_string.encode(forged, binding=binding, nonce=None, key=site_keys.code_keys()[0])

    assert_refused(exchange(web_client, code))
    assert reasons(traces) == ["never_issued"]
    assert_live()


def test_neither_kind_of_string_is_accepted_as_the_other_and_nothing_ends(web_client, user, refresh):
    code = code_for(web_client, user)
    token = issue_tokens(client=web_client, user=user)["refresh_token"]

    assert_refused(refresh(web_client, code))
    assert_refused(exchange(web_client, token))

    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret, "token": code}
    assert post_form(form, url="/oauth2/introspect").json() == {"active": False}
    post_form(form, url="/oauth2/revoke")
    assert exchange(web_client, code).status_code == 200
    assert refresh(web_client, token).status_code == 200


def test_a_public_client_needs_no_secret_and_a_confidential_one_does(web_client, spa_client, user):
    assert exchange(spa_client, code_for(spa_client, user)).status_code == 200

    code = code_for(web_client, user)
    assert exchange(web_client, code, client_secret=None).json() == {"error": "invalid_client"}
    assert exchange(web_client, code).status_code == 200


# --- repeated --------------------------------------------------------------------------------------


def test_a_reload_is_refused_and_nothing_ends(web_client, user, refresh, traces):
    code = code_for(web_client, user)
    body = exchange(web_client, code).json()

    assert_refused(exchange(web_client, code))

    assert reasons(traces) == ["repeated"]
    assert refresh(web_client, body["refresh_token"]).status_code == 200


def test_with_the_setting_a_lost_answer_is_given_again(web_client, user, refresh, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUTHORIZATION_CODE_GRACE_PERIOD": 10}
    code = code_for(web_client, user)

    first, again = exchange(web_client, code).json(), exchange(web_client, code).json()

    assert first["refresh_token"] == again["refresh_token"]
    assert first["access_token"] != again["access_token"]
    assert decoded(again["id_token"])["nonce"] == "n-0S6_WzA2Mj"
    assert decoded(first["id_token"])["sid"] == decoded(again["id_token"])["sid"]
    let_time_pass(11)
    assert_refused(exchange(web_client, code))
    assert refresh(web_client, first["refresh_token"]).status_code == 200


def test_with_the_setting_alone_a_client_that_is_strict_gets_a_lost_answer_again(web_client, user, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUTHORIZATION_CODE_GRACE_PERIOD": 10}
    Client.objects.update(refresh_token_grace_period=timedelta(0))
    code = code_for(web_client, user)

    assert (
        exchange(web_client, code).json()["refresh_token"]
        == exchange(web_client, code).json()["refresh_token"]
    )


@pytest.mark.parametrize("code_challenge", [CHALLENGE, None])
def test_nothing_is_forgiven_a_strict_client_not_even_the_time_in_the_service(
    web_client, user, traces, monkeypatch, code_challenge
):
    Client.objects.update(refresh_token_grace_period=timedelta(0))
    verifier = None if code_challenge is None else VERIFIER
    code = code_for(web_client, user, code_challenge=code_challenge)
    assert exchange(web_client, code, code_verifier=verifier).status_code == 200
    # It would look again before it ends the session.
    monkeypatch.setattr("django_ciam_token.grants.rotating.LOOKS_AGAIN_AFTER", ("never",) * 3)

    assert_refused(exchange(web_client, code, code_verifier=verifier))

    assert ended(traces) == 1


def without_pkce(web_client, user):
    code = code_for(web_client, user, code_challenge=None)
    return lambda: exchange(web_client, code, code_verifier=None)


def with_a_strict_client(web_client, user):
    Client.objects.update(refresh_token_grace_period=timedelta(0))
    code = code_for(web_client, user)
    return lambda: exchange(web_client, code)


def with_pkce(web_client, user):
    code = code_for(web_client, user)
    return lambda: exchange(web_client, code)


def at_once(body, refresh, client):
    pass


def after_the_grace_period(body, refresh, client):
    let_time_pass(31)


def after_a_refresh(body, refresh, client):
    assert refresh(client, body["refresh_token"]).status_code == 200


def after_two_refreshes(body, refresh, client):
    second = refresh(client, body["refresh_token"]).json()
    assert refresh(client, second["refresh_token"]).status_code == 200


# A strict client at once is answered if the site sets a grace period for codes.
@pytest.mark.parametrize(
    ("begin", "happens", "grace_period"),
    [
        (with_a_strict_client, at_once, 0),
        *(
            (begin, happens, grace_period)
            for begin, happens in [
                (without_pkce, at_once),
                (with_pkce, after_the_grace_period),
                (with_pkce, after_a_refresh),
                (with_pkce, after_two_refreshes),
            ]
            for grace_period in (0, 20)
        ),
    ],
)
def test_a_code_that_is_used_otherwise_again_ends_its_session_and_no_other(
    web_client, user, refresh, traces, settings, begin, happens, grace_period
):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUTHORIZATION_CODE_GRACE_PERIOD": grace_period}
    other = issue_tokens(client=web_client, user=user)
    present = begin(web_client, user)
    body = present().json()
    happens(body, refresh, web_client)

    assert_refused(present())

    session = RefreshToken.objects.latest("pk")
    assert session.revoked_reason == "reuse"
    assert ended(traces) == 1
    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}
    asked = {**form, "token": body["access_token"]}
    assert post_form(asked, url="/oauth2/introspect").json() == {"active": False}
    assert refresh(web_client, other["refresh_token"]).status_code == 200
    # And once more: refused, and nothing more happens.
    assert_refused(present())
    assert ended(traces) == 1


# --- too late, or taken back -----------------------------------------------------------------------


@pytest.mark.parametrize(("age", "status"), [(59, 200), (61, 400)])
def test_a_code_is_good_for_its_lifetime(web_client, user, age, status):
    code = code_for(web_client, user)
    let_time_pass(age)

    assert exchange(web_client, code).status_code == status


@override_settings(CIAM_TOKEN={"ISSUER": "https://id.example.com", "AUTHORIZATION_CODE_LIFETIME": 600})
def test_the_lifetime_is_a_setting(web_client, user):
    code = code_for(web_client, user)
    let_time_pass(599)

    assert exchange(web_client, code).status_code == 200


def disable_user(user, client):
    user.is_active = False
    user.save()


def delete_user(user, client):
    user.delete()


def change_password(user, client):
    user.set_password("another one")
    user.save()


def revoke(user, client):
    RefreshToken.objects.update(revoked_at=timezone.now(), revoked_reason="user")


def withdraw_redirect_uri(user, client):
    Client.objects.update(redirect_uris="https://other.example.com/cb")


def withdraw_scope(user, client):
    Client.objects.update(scope="openid")


def disable_refresh_tokens(user, client):
    Client.objects.update(refresh_tokens_enabled=False)


@pytest.mark.parametrize(
    ("take_back", "reason"),
    [
        (disable_user, "user_disabled"),
        (delete_user, "unknown_session"),
        (change_password, "password_changed"),
        (revoke, "revoked"),
        (withdraw_redirect_uri, "redirect_uri_withdrawn"),
        (withdraw_scope, "scope_withdrawn"),
        (disable_refresh_tokens, "refresh_tokens_disabled"),
    ],
)
def test_what_was_taken_back_meanwhile_is_refused(web_client, user, traces, take_back, reason):
    code = code_for(web_client, user)
    take_back(user, web_client)

    assert_refused(exchange(web_client, code))

    assert reasons(traces) == [reason]


def test_a_consent_that_was_withdrawn_meanwhile_is_refused(web_client, user, traces):
    Client.objects.update(asks_consent=True)
    consent = Consent.objects.create(client=web_client, user=user, scope="openid profile email")
    assert exchange(web_client, code_for(web_client, user)).status_code == 200
    narrower = code_for(web_client, user)
    Consent.objects.update(scope="openid")
    assert_refused(exchange(web_client, narrower))
    # As if the withdrawal had looked for sessions a moment before this one began.
    code = code_for(web_client, user)
    consent.delete()

    assert_refused(exchange(web_client, code))

    assert reasons(traces) == ["consent_withdrawn"] * 2


def test_the_log_says_to_whom_a_code_was_issued_and_for_which_session(web_client, user, traces):
    code_for(web_client, user)

    [line] = [line for line in traces.logged if "'event': 'code_issued'" in line]
    assert f"'session_id': '{RefreshToken.objects.get().pk}'" in line
    assert f"'client_id': '{web_client.client_id}'" in line


def test_a_client_that_was_disabled_meanwhile_is_refused(web_client, user):
    code = code_for(web_client, user)
    Client.objects.update(is_active=False)

    assert exchange(web_client, code).json() == {"error": "invalid_client"}


def test_the_policy_of_the_site_is_asked(web_client, user, settings):
    code = code_for(web_client, user)
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ISSUANCE_POLICY": f"{__name__}.never"}

    assert_refused(exchange(web_client, code))


def never(**_):
    return False


# --- while it is only a code -----------------------------------------------------------------------


def test_nobody_gets_a_code_who_may_not_sign_in(web_client, machine):
    disabled = UserFactory(is_active=False)
    with pytest.raises(InvalidGrant):
        code_for(web_client, disabled)
    with pytest.raises(InvalidRequest):
        code_for(machine, UserFactory())
    web_client.is_active = False
    with pytest.raises(UnauthorizedClient):
        code_for(web_client, UserFactory())
    assert not RefreshToken.objects.exists()


def test_what_is_only_a_code_is_not_listed_as_a_session(web_client, user):
    code = code_for(web_client, user)
    assert list_sessions(user=user) == []

    exchange(web_client, code)

    assert len(list_sessions(user=user)) == 1


def test_codes_that_nobody_exchanged_are_purged_soon(web_client, user):
    issue_tokens(client=web_client, user=user)
    code_for(web_client, user)
    let_time_pass(60 + 299)
    assert purge() == PurgeResult(finished=True)

    let_time_pass(2)

    assert purge() == PurgeResult(sessions=1, finished=True)
    assert not RefreshToken.objects.get().is_code


def test_a_wrong_secret_key_is_our_fault_and_no_refusal(web_client, user, settings):
    code = code_for(web_client, user)
    key_set.forget()  # As a process that has just started.
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SECRETS": ["another-secret-" * 5]}

    assert exchange(web_client, code).status_code == 503


def test_a_code_survives_the_rotation_of_the_site_s_secrets(web_client, user, settings):
    code = code_for(web_client, user)
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SECRETS": ["new-secret-" * 5, *ciam_settings.SECRETS]}

    assert exchange(web_client, code).status_code == 200


# --- failures --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_exchange_whose_commit_is_uncertain_is_answered(web_client, user, break_next_commit, traces):
    code = code_for(web_client, user)
    failures = break_next_commit()

    assert exchange(web_client, code).status_code == 200

    assert failures
    assert len(traces.of(signals.tokens_issued)) == 1
    assert_live()


@pytest.mark.django_db(transaction=True)
def test_a_code_whose_insert_is_uncertain_is_good(web_client, user, break_next_commit):
    break_next_commit()
    code = code_for(web_client, user)

    assert exchange(web_client, code).status_code == 200
