"""The operations of django-ninja, the real package, behind access tokens."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.urls import path
from django.utils import timezone
from ninja import NinjaAPI
from ninja.security import HttpBearer

from django_ciam_token.integrations.django_ninja import AccessTokenAuth, send_challenges
from django_ciam_token.keys import key_set
from django_ciam_token.models import RefreshToken
from django_ciam_token.tokens import access_tokens
from tests.resource_server.conftest import (
    EXPIRED,
    NO_TOKEN,
    NOT_VALID,
    assert_insufficient,
    get,
    in_seconds,
    resign,
)

pytestmark = pytest.mark.django_db


class Opaque(HttpBearer):
    """Somebody else's class."""

    def authenticate(self, request, token):
        return "bob" if token == "opaque" else None


api = NinjaAPI(auth=AccessTokenAuth())
plain = NinjaAPI(auth=AccessTokenAuth(), urls_namespace="plain")
send_challenges(api)


def whoami(request):
    return {"user": str(request.user), "scope": request.auth.verified.scope}


async def whoami_async(request):
    return {"user": str(await request.auser()), "scope": request.auth.verified.scope}


api.get("/sync")(whoami)
api.get("/async")(whoami_async)
api.get("/scoped", auth=AccessTokenAuth(scopes=["email"]))(whoami)
api.get("/orders", auth=AccessTokenAuth(scopes=["orders"], realm="orders"))(whoami)
api.get("/stateless", auth=AccessTokenAuth(stateless=True))(lambda request: {"pk": request.user.pk})
api.get("/reading", auth=AccessTokenAuth(stateless=True))(whoami)
both = [AccessTokenAuth(pass_on_foreign_tokens=True), Opaque()]
api.get("/both", auth=both)(lambda request: {"auth": str(request.auth)})
api.get("/other", auth=Opaque())(lambda request: {})
plain.get("/sync")(whoami)

urlpatterns = [path("api/", api.urls), path("plain/", plain.urls)]


@pytest.fixture(autouse=True)
def _site(settings, monkeypatch):
    settings.ROOT_URLCONF = __name__
    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)


@pytest.fixture
def access_token(first_tokens):
    return first_tokens["access_token"]


def assert_refused(response, header=NOT_VALID):
    assert response.status_code == 401, response.content
    assert response["WWW-Authenticate"] == header
    detail = "the access token has expired" if header == EXPIRED else "the access token is not valid"
    assert response.json() == {"detail": detail}


@pytest.mark.parametrize("url", ["/api/sync", "/api/async", "/api/scoped", "/plain/sync"])
def test_a_request_with_a_token_is_served(user, access_token, url):
    response = get(url, access_token)

    assert response.status_code == 200, response.content
    assert response.json() == {"user": user.username, "scope": ["openid", "profile", "email"]}


@pytest.mark.parametrize("url", ["/api/sync", "/api/async"])
def test_refusals_carry_the_challenges(access_token, url):
    response = get(url)
    assert (response.status_code, response["WWW-Authenticate"]) == (401, NO_TOKEN)

    assert_refused(get(url, "abc"))
    assert_refused(get(url, resign(access_token, exp=in_seconds(-1))), EXPIRED)
    response = get(url, authorization="Bearer")
    assert response.status_code == 400
    assert 'error="invalid_request"' in response["WWW-Authenticate"]
    RefreshToken.objects.update(revoked_at=timezone.now())
    assert_refused(get(url, access_token))


def test_without_the_scope_it_is_403_and_the_challenge_names_it(access_token):
    assert_insufficient(get("/api/orders", access_token), "orders", realm="orders")
    assert get("/api/orders")["WWW-Authenticate"] == 'Bearer realm="orders"'


def test_if_the_database_is_unavailable_the_answer_is_503(monkeypatch, access_token):
    def fail(*arguments, **others):
        raise OperationalError("gone")

    monkeypatch.setattr(access_tokens, "read_token_of_session", fail)

    response = get("/api/sync", access_token)

    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert "WWW-Authenticate" not in response


def test_an_api_that_sends_no_challenges_still_refuses(access_token):
    assert get("/plain/sync").status_code == 401
    response = get("/plain/sync", access_token[:-8] + "AAAAAAAA")

    assert (response.status_code, response.json()) == (401, {"detail": "the access token is not valid"})


def test_a_stateless_operation_makes_no_query(user, access_token, django_assert_num_queries):
    key_set.current()

    with django_assert_num_queries(0):
        assert get("/api/stateless", access_token).json() == {"pk": user.pk}


def test_a_stateless_operation_that_reads_the_user_judges_the_token(user, access_token):
    assert get("/api/reading", access_token).json()["user"] == user.username
    RefreshToken.objects.update(revoked_at=timezone.now())

    assert_refused(get("/api/reading", access_token))


def test_a_foreign_token_is_left_to_the_next(access_token):
    assert get("/api/both", "opaque").json() == {"auth": "bob"}
    assert get("/api/both", access_token).status_code == 200
    assert_refused(get("/api/both", access_token[:-8] + "AAAAAAAA"))
    assert get("/api/both")["WWW-Authenticate"] == NO_TOKEN


def test_other_peoples_refusals_get_no_challenge_of_ours():
    response = get("/api/other")

    assert response.status_code == 401
    assert "WWW-Authenticate" not in response


def test_the_schema_has_the_security_scheme():
    schemes = api.get_openapi_schema(path_prefix="")["components"]["securitySchemes"]

    assert schemes["AccessTokenAuth"] == {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


def test_scopes_must_be_a_list_of_names():
    with pytest.raises(ImproperlyConfigured, match="must be a list of scope names"):
        AccessTokenAuth(scopes="openid")
