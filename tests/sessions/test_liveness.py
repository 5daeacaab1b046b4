"""The statement of every protected view: it reads what the ORM would, is compiled once, and reads little."""

from __future__ import annotations

import uuid

import pytest
from django.db.models.sql.compiler import SQLCompiler
from django.urls import path
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.crypto import jose
from django_ciam_token.models import RefreshToken, RevokedAccessToken
from django_ciam_token.sessions.liveness import read_token_of_client, read_token_of_session
from tests.calls import calls_of
from tests.factories import ClientFactory
from tests.resource_server.conftest import Whoami, get

pytestmark = pytest.mark.django_db

urlpatterns = [path("whoami", Whoami.as_view())]

JTI = uuid.uuid4()


def read(session, jti=JTI):
    return read_token_of_session(session.pk, jti=jti, using="default")


def test_what_is_read_is_what_the_orm_reads(web_client, user, first_tokens):
    session = RefreshToken.objects.get()

    seen = read(session)

    assert (seen.client, seen.user, seen.user_id) == (web_client, user, user.pk)
    assert seen.session_auth_hash == session.session_auth_hash
    assert (seen.token_revoked, seen.session_revoked_at) == (False, None)
    for read_row, row in ((seen.user, user), (seen.client, web_client)):
        loaded = [name for name in vars(row) if name in vars(read_row) and not name.startswith("_")]
        assert len(loaded) >= 9
        row.refresh_from_db()
        assert [getattr(read_row, name) for name in loaded] == [getattr(row, name) for name in loaded]


def test_of_a_client_the_rest_is_read_when_it_is_used(first_tokens, django_assert_num_queries):
    client = read(RefreshToken.objects.get()).client

    with django_assert_num_queries(0):
        assert client.name, client.scopes
    with django_assert_num_queries(1):
        assert client.allowed_origins == ""


def test_what_ended_is_read(first_tokens):
    RefreshToken.objects.update(revoked_at=timezone.now())
    RevokedAccessToken.objects.create(jti=JTI, expires_at=timezone.now())
    session = RefreshToken.objects.get()

    seen = read(session)

    assert (seen.token_revoked, seen.session_revoked_at) == (True, session.revoked_at)
    assert read(session, uuid.uuid4()).token_revoked is False


def test_a_machines_session_has_no_user(machine):
    issue_tokens(client=machine)

    seen = read(RefreshToken.objects.get())

    assert (seen.user, seen.user_id) == (None, None)


def test_nothing_is_found_under_another_name(web_client, first_tokens):
    assert read_token_of_session(uuid.uuid4(), jti=JTI, using="default") is None
    assert read_token_of_client(web_client.client_id, jti=JTI, using="default").client == web_client
    assert read_token_of_client(web_client.client_id + " ", jti=JTI, using="default") is None
    assert read_token_of_client("nobody", jti=JTI, using="default") is None


@pytest.fixture
def ask_again(settings, as_in_production, user):
    """Return a function that sends one and the same access token to a view."""
    settings.ROOT_URLCONF = __name__
    token = issue_tokens(client=ClientFactory(), user=user)["access_token"]

    def again():
        assert get(token=token).status_code == 200

    for _ in range(3):
        again()
    return again


def test_no_request_compiles_sql_or_parses_a_key(ask_again, monkeypatch):
    def never(*arguments, **others):
        raise AssertionError("this takes longer than everything else")

    monkeypatch.setattr(SQLCompiler, "as_sql", never)
    monkeypatch.setattr(jose, "VerifyingKey", never)

    ask_again()


def test_a_token_that_was_seen_before_is_not_verified_by_its_key_again(ask_again, monkeypatch):
    def never(*arguments, **others):
        raise AssertionError("it was verified")

    monkeypatch.setattr("cryptography.hazmat.primitives.asymmetric.padding.PKCS1v15", never)

    ask_again()


def test_a_request_calls_few_functions(ask_again):
    """Measured: 900 to 1,000, depending on version and database; 5,400 with querysets and PyJWT's parser."""
    assert calls_of(ask_again) < 1500
