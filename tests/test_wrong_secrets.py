"""A process that was started with the wrong SECRET_KEY knows better than to call genuine tokens forged."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client as Browser
from django.test import override_settings
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.keys import key_set
from django_ciam_token.models import RefreshToken, SigningKey
from tests.conftest import post_form

pytestmark = pytest.mark.django_db

WRONG = override_settings(SECRET_KEY="w" * 50)


@pytest.fixture
def token(web_client, user):
    token = issue_tokens(client=web_client, user=user)["refresh_token"]
    key_set.forget()  # As a process that has just started.
    return token


def form(client, **parameters):
    return {"client_id": client.client_id, "client_secret": client.plain_secret, **parameters}


def assert_unavailable(response):
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert response.json()["error"] == "temporarily_unavailable"


def test_with_the_wrong_secret_a_refresh_is_unavailable_and_with_the_right_one_it_works(
    web_client, token, refresh, traces
):
    with WRONG:
        assert_unavailable(refresh(web_client, token))

    assert any("wrong SECRET_KEY" in line and "signing_key_undecryptable" in line for line in traces.logged)
    key_set.forget()
    assert refresh(web_client, token).status_code == 200


def test_with_the_wrong_secret_nothing_is_said_of_a_token_at_introspection_and_revocation(web_client, token):
    for url in ("/oauth2/introspect", "/oauth2/revoke"):
        with WRONG:
            assert_unavailable(post_form(form(web_client, token=token), url=url))

    assert RefreshToken.objects.get().revoked_at is None


def test_with_the_wrong_secret_the_published_documents_are_unavailable_instead_of_empty(token):
    """Verifiers keep the copy that they have, and fetch it again."""
    for url in ("/oauth2/jwks", "/.well-known/openid-configuration"):
        with WRONG:
            assert_unavailable(Browser(raise_request_exception=False).get(url))


def test_in_a_healthy_process_a_forged_token_stays_an_invalid_grant(
    web_client, token, refresh, django_assert_num_queries
):
    forged = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]
    refresh(web_client, forged)

    with django_assert_num_queries(1):  # That of the client; the keys are in the process's copy.
        response = refresh(web_client, forged)

    assert (response.status_code, response.content) == (400, b'{"error": "invalid_grant"}')
    assert post_form(form(web_client, token=forged), url="/oauth2/introspect").json() == {"active": False}
    assert post_form(form(web_client, token=forged), url="/oauth2/revoke").json() == {}


def test_what_is_no_token_at_all_is_refused_whatever_the_secrets(web_client, token, refresh):
    with WRONG:
        assert refresh(web_client, "garbage").status_code == 400


def test_without_any_key_a_forged_token_is_forged(web_client, token, refresh):
    SigningKey.objects.all().delete()
    forged = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]

    assert refresh(web_client, forged).status_code == 400


def test_a_key_that_has_long_been_retired_says_nothing_about_the_secrets(token):
    now = timezone.now()
    SigningKey.objects.update(retired_at=now - timedelta(days=1))
    with WRONG:
        keys = key_set.current()

        assert keys.undecryptable
        keys.require_right_secrets(now)
