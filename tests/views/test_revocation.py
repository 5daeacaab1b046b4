"""``POST /oauth2/revoke`` as a specification."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

import jwt
import pytest
from django.db import OperationalError, connection
from django.db.models import QuerySet
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.concealed import Concealed
from django_ciam_token.crypto import jose
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.errors import InvalidToken
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import RefreshToken, RevokedAccessToken, SecurityEvent
from django_ciam_token.tokens import access_tokens
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db

URL = "/oauth2/revoke"
INVALID_CLIENT = b'{"error": "invalid_client"}'


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)


@pytest.fixture
def revoke(web_client):
    def revoke(token, *, client=web_client, **parameters):
        form = {"client_id": client.client_id, "token": token, **parameters}
        if client.plain_secret is not None:
            form["client_secret"] = client.plain_secret
        return post_form(form, url=URL)

    return revoke


def assert_done(response):
    assert response.status_code == 200
    assert response.content == b"{}"
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    assert response["Cache-Control"] == "private, no-store"


def is_live(access_token):
    verified = access_tokens.verify(Concealed(access_token), now=timezone.now())
    try:
        access_tokens.require_live(verified)
    except InvalidToken:
        return False
    return True


@pytest.mark.parametrize("generation", [0, 1, 2])
@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "access_token"}, {"token_type_hint": "nonsense"}])
def test_a_refresh_token_of_any_generation_ends_its_session_and_its_access_tokens(
    revoke, refresh, web_client, first_tokens, generation, hint
):
    bodies = [first_tokens]
    for _ in range(2):
        bodies.append(refresh(web_client, bodies[-1]["refresh_token"]).json())

    assert_done(revoke(bodies[generation]["refresh_token"], **hint))

    session = RefreshToken.objects.get()
    assert session.revoked_reason == "client"
    assert refresh(web_client, bodies[2]["refresh_token"]).json() == {"error": "invalid_grant"}
    assert not any(is_live(body["access_token"]) for body in bodies)


@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "refresh_token"}])
def test_an_access_token_is_revoked_alone(revoke, refresh, web_client, first_tokens, hint):
    other = refresh(web_client, first_tokens["refresh_token"]).json()

    assert_done(revoke(first_tokens["access_token"], **hint))
    assert_done(revoke(first_tokens["access_token"], **hint))

    assert not is_live(first_tokens["access_token"])
    assert is_live(other["access_token"])
    assert refresh(web_client, other["refresh_token"]).status_code == 200
    remembered = RevokedAccessToken.objects.get()
    assert str(remembered) == str(remembered.jti)
    assert timedelta(seconds=290) < remembered.expires_at - timezone.now() <= timedelta(seconds=300)


def test_other_sessions_of_the_user_stay_live(revoke, refresh, web_client, user, first_tokens):
    other = issue_tokens(client=web_client, user=user)

    assert_done(revoke(first_tokens["refresh_token"]))

    assert is_live(other["access_token"])
    assert refresh(web_client, other["refresh_token"]).status_code == 200


def test_revoking_twice_keeps_the_first_reason(revoke, first_tokens):
    RefreshToken.objects.update(revoked_at=timezone.now(), revoked_reason="operator")

    assert_done(revoke(first_tokens["refresh_token"]))

    assert RefreshToken.objects.get().revoked_reason == "operator"


@pytest.mark.parametrize("token", ["unknown", "ciam_rt1_" + "A" * 91, "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_an_unknown_or_malformed_token_is_not_an_error(revoke, first_tokens, token):
    assert_done(revoke(token))

    assert RefreshToken.objects.get().revoked_at is None
    assert not RevokedAccessToken.objects.exists()


def test_an_id_token_revokes_nothing(revoke, first_tokens):
    assert_done(revoke(first_tokens["id_token"]))

    assert not RevokedAccessToken.objects.exists()
    assert is_live(first_tokens["access_token"])


def test_a_deleted_session_is_not_an_error(revoke, first_tokens):
    RefreshToken.objects.all().delete()

    assert_done(revoke(first_tokens["refresh_token"]))


def test_an_expired_access_token_is_not_remembered(revoke, web_client):
    now = timezone.now()
    claims = {"iss": "https://id.example.com", "sub": "1", "aud": web_client.client_id, "scope": ["openid"]}
    past = int(now.timestamp()) - 10
    claims |= {"exp": past, "iat": past - 300, "nbf": past - 300, "jti": str(uuid.uuid4())}

    assert_done(revoke(jose.sign(claims, key=key_set.current().signing_pair(now))))

    assert not RevokedAccessToken.objects.exists()


def test_an_access_token_is_remembered_for_as_long_as_somebody_may_accept_it(
    revoke, first_tokens, web_client, settings
):
    """Until the leeway after its exp is over, also if it is revoked after its exp."""
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "RESOURCE_LEEWAY": timedelta(minutes=2)}
    now, key = timezone.now(), key_set.current().signing_pair(timezone.now())
    claims = jwt.decode(first_tokens["access_token"], options={"verify_signature": False})
    ends = {str(uuid.uuid4()): int(now.timestamp()) + seconds for seconds in (300, -60)}

    for jti, end in ends.items():
        assert_done(revoke(jose.sign({**claims, "jti": jti, "exp": end}, key=key)))

    remembered = {str(row.jti): row.expires_at.timestamp() for row in RevokedAccessToken.objects.all()}
    assert remembered == {jti: end + 120 for jti, end in ends.items()}


@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
def test_another_clients_token_is_refused_and_nothing_is_revoked(revoke, first_tokens, kind):
    response = revoke(first_tokens[kind], client=ClientFactory())

    assert response.status_code == 401
    assert response.content == INVALID_CLIENT
    assert RefreshToken.objects.get().revoked_at is None
    assert is_live(first_tokens["access_token"])


def test_a_public_client_revokes_its_own_tokens(revoke, spa_client, user):
    tokens = issue_tokens(client=spa_client, user=user)

    assert_done(revoke(tokens["refresh_token"], client=spa_client))

    assert RefreshToken.objects.get().revoked_reason == "client"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
def test_the_event_says_who_asked_and_from_where(web_client, first_tokens, kind):
    form = {
        "client_id": web_client.client_id,
        "client_secret": web_client.plain_secret,
        "token": first_tokens[kind],
    }

    post_form(form, url=URL, REMOTE_ADDR="192.0.2.9")

    event = SecurityEvent.objects.get(event="revoked")
    assert (event.client_id, event.address) == (web_client.client_id, "192.0.2.9")
    assert event.session_id == RefreshToken.objects.get().pk


def test_an_access_token_that_is_revoked_twice_at_once_is_revoked(revoke, first_tokens, monkeypatch):
    """Another request revokes it after this one has looked whether it is."""
    real = QuerySet.exists

    def exists(rows):
        found = real(rows)
        if rows.model is RevokedAccessToken and not found:
            [jti] = [child.rhs for child in rows.query.where.children]
            RevokedAccessToken.objects.create(jti=jti, expires_at=timezone.now() + timedelta(minutes=5))
        return found

    monkeypatch.setattr(QuerySet, "exists", exists)

    assert_done(revoke(first_tokens["access_token"]))

    assert RevokedAccessToken.objects.count() == 1
    assert not is_live(first_tokens["access_token"])


def test_an_access_token_with_another_audience_is_recognised_as_the_clients_own(revoke):
    client = ClientFactory(audience="https://api.example.com", refresh_tokens_enabled=False)
    tokens = issue_tokens(client=client, user=UserFactory())
    assert is_live(tokens["access_token"])

    assert_done(revoke(tokens["access_token"], client=client))

    assert not is_live(tokens["access_token"])


def test_errors_are_answered_as_at_the_token_endpoint(revoke, web_client, first_tokens):
    token = first_tokens["refresh_token"]
    wrong_secret = {"client_id": web_client.client_id, "client_secret": "x", "token": token}

    refused = post_form(wrong_secret, url=URL)
    missing = revoke("")
    get = Browser().get(URL)
    as_json = Browser().post(URL, json.dumps(wrong_secret), content_type="application/json")

    assert (refused.status_code, refused.content) == (401, INVALID_CLIENT)
    assert (missing.status_code, missing.json()["error_description"]) == (
        400,
        "token is missing; send it in the form body",
    )
    assert (get.status_code, get["Allow"]) == (405, "POST")
    assert as_json.status_code == 415
    assert RefreshToken.objects.get().revoked_at is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
@pytest.mark.parametrize("statement", ["SELECT", "UPDATE", "INSERT"])
def test_if_the_database_fails_the_answer_is_never_200(revoke, first_tokens, kind, statement):
    needed = {"refresh_token": ("SELECT", "UPDATE"), "access_token": ("SELECT", "INSERT")}

    def fail(execute, sql, params, many, context):
        if sql.startswith(statement):
            raise OperationalError("gone")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        response = revoke(first_tokens[kind])

    assert response.status_code == (503 if statement in needed[kind] else 200)
    if response.status_code == 503:
        assert response.json()["error"] == "temporarily_unavailable"
        assert response["Retry-After"] == "1"


def test_a_session_that_is_gone_is_looked_for_three_times(revoke, first_tokens):
    RefreshToken.objects.all().delete()
    table = RefreshToken._meta.db_table

    with CaptureQueriesContext(connection) as queries:
        assert_done(revoke(first_tokens["refresh_token"]))

    assert len([query for query in queries if table in query["sql"]]) == 3


@pytest.mark.django_db(transaction=True)
def test_a_session_that_a_lagging_node_does_not_know_yet_is_read_again(revoke, first_tokens, monkeypatch):
    from django_ciam_token.sessions import rows

    original, readings = rows.read_session, []

    def read(session_id, *, using):
        readings.append(1)
        return original(session_id, using=using) if len(readings) > 2 else None

    monkeypatch.setattr(rows, "read_session", read)

    assert_done(revoke(first_tokens["refresh_token"]))

    assert RefreshToken.objects.get().revoked_at is not None


def test_a_token_of_a_host_whose_clock_is_ahead_is_revoked_as_well(revoke, first_tokens, monkeypatch):
    earlier = timezone.now() - timedelta(seconds=30)
    monkeypatch.setattr("django_ciam_token.views.revocation.timezone.now", lambda: earlier)

    assert_done(revoke(first_tokens["access_token"]))

    assert not is_live(first_tokens["access_token"])


def test_a_key_that_another_process_has_just_made_is_read(revoke, web_client, user, monkeypatch):
    old = key_set.current()
    signing_keys.rotate(algorithm="ES256", immediately=True)
    key_set.forget()
    token = issue_tokens(client=web_client, user=user)["access_token"]
    now = [old.read_at.monotonic + 6]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    key_set._key_sets[tenant_key("default")] = old

    assert_done(revoke(token))

    assert not is_live(token)


def test_keys_are_read_again_for_an_unknown_key_only_once_in_a_few_seconds(
    revoke, web_client, monkeypatch, django_assert_num_queries
):
    pem = jose.generate_private_key("ES256")
    key = jose.SigningKeyPair(kid="unknown", algorithm="ES256", private_key=jose.parse_private_key(pem))
    forged = jose.sign({"sub": "1"}, key=key)
    start = key_set.current().read_at.monotonic
    monkeypatch.setattr("time.monotonic", lambda: start + 6)

    with django_assert_num_queries(2):  # One for the client and one for the keys.
        assert_done(revoke(forged))
    with django_assert_num_queries(1):
        assert_done(revoke(forged))
