from __future__ import annotations

import pytest

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import RefreshToken
from django_ciam_token.tokens import access_tokens
from tests.factories import ClientFactory
from tests.operators import browser_of, refuse, url

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("kind", ["refresh_token", "superseded", "access_token"])
def test_a_session_is_found_by_any_token_of_it(operator, session, web_client, first_tokens, refresh, kind):
    newer = refresh(web_client, first_tokens["refresh_token"]).json()
    tokens = {
        "superseded": first_tokens["refresh_token"],
        "refresh_token": newer["refresh_token"],
        "access_token": newer["access_token"],
    }

    response = operator.post(url("refreshtoken_find_by_token"), {"token": f" {tokens[kind]}\n"})

    assert response["Location"] == url("refreshtoken_change", session.pk)
    assert "no-store" in response["Cache-Control"]


def test_finding_by_token_never_shows_it_again(operator, first_tokens):
    RefreshToken.objects.all().delete()

    response = operator.post(
        url("refreshtoken_find_by_token"), {"token": first_tokens["refresh_token"]}, follow=True
    )

    page = response.content.decode()
    assert "its session is not stored any more" in page
    assert first_tokens["refresh_token"] not in page


@pytest.mark.parametrize("token", ["", "x" * 9_000, "ciam_rt1_garbage", "a.b.c", "\x00"])
def test_what_is_no_token_finds_nothing(operator, token):
    response = operator.post(url("refreshtoken_find_by_token"), {"token": token})

    assert response.status_code == 200
    assert response.context["form"].errors
    assert "value=" not in str(response.context["form"]["token"])


def test_an_access_token_without_a_session_is_told_so(operator, user):
    client = ClientFactory(refresh_tokens_enabled=False)
    token = issue_tokens(client=client, user=user)["access_token"]

    response = operator.post(url("refreshtoken_find_by_token"), {"token": token})

    assert "belongs to no session" in response.content.decode()


def test_finding_by_token_survives_a_database_that_refuses(operator, monkeypatch):
    monkeypatch.setattr(access_tokens, "verify", refuse)

    response = operator.post(url("refreshtoken_find_by_token"), {"token": "a.b.c"})

    assert "The database refused" in response.content.decode()


def test_who_may_not_view_sessions_can_not_find_them():
    assert browser_of("view_client").get(url("refreshtoken_find_by_token")).status_code == 403
