"""No cache gives an answer that depends on a token to anybody else."""

from __future__ import annotations

import pytest
from django.test import Client as Browser

from django_ciam_token.api import issue_tokens
from tests.conftest import post_form
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def per_site_cache(settings):
    """Django's cache of a whole site, as its documentation sets it up."""
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        *settings.MIDDLEWARE,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]


def userinfo(token):
    return Browser().get("/userinfo", headers={"Authorization": f"Bearer {token}"})


def test_a_per_site_cache_gives_nobody_the_userinfo_of_somebody_else(per_site_cache, web_client):
    users = [UserFactory(), UserFactory()]
    tokens = [issue_tokens(client=web_client, user=user)["access_token"] for user in users]

    for user, token in zip(users * 2, tokens * 2, strict=True):
        assert userinfo(token).json()["sub"] == str(user.pk)
    assert userinfo("wrong").status_code == 401
    assert Browser().get("/userinfo").status_code == 400


def test_a_per_site_cache_keeps_what_is_public(per_site_cache, django_assert_num_queries):
    Browser().get("/oauth2/jwks")

    with django_assert_num_queries(0):
        assert Browser().get("/oauth2/jwks").json()["keys"]


def answers(form, access_token):
    """An answer of each kind that depends on a token or on a client, and every error."""
    credentials = {name: form[name] for name in ("client_id", "client_secret")}
    browser = Browser(raise_request_exception=False)
    yield 200, post_form(form)
    yield 400, post_form({**form, "refresh_token": "x"})
    yield 401, post_form({**form, "client_secret": "x"})
    for url in ("/oauth2/revoke", "/oauth2/introspect"):
        yield 200, post_form({"token": "x", **credentials}, url=url)
        yield 400, post_form(credentials, url=url)
        yield 401, post_form({"token": "x", **credentials, "client_secret": "x"}, url=url)
    yield 200, userinfo(access_token)
    yield 400, browser.get("/userinfo")
    yield 401, userinfo("x")
    for url in ("/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"):
        yield 405, browser.get(url)
        yield 415, browser.post(url, {})
    yield 405, browser.put("/userinfo")
    for url in ("/oauth2/jwks", "/.well-known/openid-configuration"):
        yield 405, browser.post(url)


def test_every_answer_that_depends_on_a_token_or_a_client_is_private(form, first_tokens):
    for status, answer in answers(form, first_tokens["access_token"]):
        assert answer.status_code == status
        assert answer["Cache-Control"] == "private, no-store"
        assert answer["Pragma"] == "no-cache"
        assert "authorization" in {name.strip().lower() for name in answer["Vary"].split(",")}


def fail(**arguments):
    raise RuntimeError("a function of the site failed")


def test_errors_of_the_service_are_private_too(form, first_tokens, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_CLAIMS": fail, "USER_CLAIMS": fail}
    browser = Browser(raise_request_exception=False)
    headers = {"Authorization": f"Bearer {first_tokens['access_token']}"}

    for answer in (post_form(form), browser.get("/userinfo", headers=headers)):
        assert answer.status_code == 500
        assert answer["Cache-Control"] == "private, no-store"
        assert answer["Vary"].lower().startswith("authorization")
