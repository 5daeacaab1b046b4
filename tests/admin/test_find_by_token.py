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
    assert "its session is no longer stored" in page
    assert first_tokens["refresh_token"] not in page


@pytest.mark.parametrize("token", ["", "x" * 9_000, "ciam_rt1_garbage", "a.b.c", "\x00"])
def test_anything_but_a_token_finds_nothing(operator, token):
    response = operator.post(url("refreshtoken_find_by_token"), {"token": token})

    assert response.status_code == 200
    assert response.context["form"].errors
    assert "value=" not in str(response.context["form"]["token"])


def test_an_access_token_without_a_session_is_reported_as_such(operator, user):
    client = ClientFactory(refresh_tokens_enabled=False)
    token = issue_tokens(client=client, user=user)["access_token"]

    response = operator.post(url("refreshtoken_find_by_token"), {"token": token})

    assert "does not belong to a session" in response.content.decode()


def test_finding_by_token_survives_an_unavailable_database(operator, monkeypatch):
    monkeypatch.setattr(access_tokens, "verify", refuse)

    response = operator.post(url("refreshtoken_find_by_token"), {"token": "a.b.c"})

    assert "The database is temporarily unavailable" in response.content.decode()


def test_finding_by_token_needs_the_permission_to_view_sessions():
    assert browser_of("view_client").get(url("refreshtoken_find_by_token")).status_code == 403
