"""Django's own views, functions and classes, sync and async, behind an access token."""

from __future__ import annotations

import json

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.http import JsonResponse
from django.test import AsyncClient
from django.test import Client as Browser
from django.urls import path
from django.utils import timezone
from django.views import View

from django_ciam_token.api import issue_tokens
from django_ciam_token.keys import key_set
from django_ciam_token.models import RefreshToken
from django_ciam_token.resource_server import access_token_required
from django_ciam_token.tokens import access_tokens
from tests.resource_server.conftest import (
    EXPIRED,
    NO_TOKEN,
    NOT_VALID,
    assert_insufficient,
    assert_refused,
    configure,
    get,
    in_seconds,
    resign,
)

pytestmark = pytest.mark.django_db


def whoami(request, **captured):
    return JsonResponse({"user": str(request.user), "scope": request.auth.verified.scope, **captured})


async def whoami_async(request, **captured):
    user = await request.auser()
    return JsonResponse({"user": str(user), "scope": request.auth.verified.scope, **captured})


@access_token_required()
def function(request, **captured):
    """Say who."""
    return whoami(request, **captured)


@access_token_required(scopes=["openid", "email"])
async def async_function(request, **captured):
    return await whoami_async(request, **captured)


@access_token_required(scopes=["openid"])
class Class(View):
    def get(self, request, **captured):
        return whoami(request, **captured)

    post = get


@access_token_required(scopes=["openid"])
class AsyncClass(View):
    async def get(self, request, **captured):
        return await whoami_async(request, **captured)

    post = get


@access_token_required()
class Base(View):
    """Has no method yet, so it is neither sync nor async."""


class Derived(Base):
    async def get(self, request):
        return await whoami_async(request)


@access_token_required(scopes=["orders"], realm="orders")
class OfAnotherRealm(Class):
    """The guards of both classes stand before it; this one first."""


@access_token_required(stateless=True)
def stateless(request):
    return JsonResponse({"pk": request.user.pk})


@access_token_required(stateless=True)
def stateless_reading(request):
    return whoami(request)


@access_token_required(stateless=True)
async def async_stateless(request):
    return await whoami_async(request)


urlpatterns = [
    path("function", function),
    path("async-function", async_function),
    path("class", Class.as_view()),
    path("async-class", AsyncClass.as_view()),
    path("derived", Derived.as_view()),
    path("orders/<int:number>", access_token_required(scopes=["openid"])(whoami)),
    path("async-orders/<int:number>", AsyncClass.as_view()),
    path("realm", access_token_required(scopes=["orders"], realm="orders")(whoami)),
    path("async-realm", access_token_required(scopes=["orders"], realm="orders")(whoami_async)),
    path(
        "class-realm",
        access_token_required(scopes=["orders"], realm="orders")(type("V", (Class,), {})).as_view(),
    ),
    path("stateless", stateless),
    path("stateless-reading", stateless_reading),
    path("async-stateless", async_stateless),
]

ALL = ["/function", "/async-function", "/class", "/async-class", "/derived"]


@pytest.fixture(params=["wsgi", "asgi"])
def ask(request):
    """Return a function that asks by way of WSGI, or of ASGI."""
    if request.param == "wsgi":
        return get

    def ask(url, token=None, *, method="get", authorization=None):
        headers = {}
        if token is not None or authorization is not None:
            headers = {"headers": {"authorization": authorization or f"Bearer {token}"}}

        async def send():
            return await getattr(AsyncClient(raise_request_exception=False), method)(url, **headers)

        # What is sync in between then runs in this thread, and in its transaction.
        return async_to_sync(send)()

    return ask


@pytest.mark.parametrize("url", ALL)
def test_a_request_with_a_token_is_served(ask, user, access_token, url):
    response = ask(url, access_token)

    assert response.status_code == 200, response.content
    assert response.json() == {"user": user.username, "scope": ["openid", "profile", "email"]}
    assert "WWW-Authenticate" not in response


@pytest.mark.parametrize("url", ["/orders/7", "/async-orders/7"])
def test_what_the_url_captures_reaches_the_view(ask, access_token, url):
    assert ask(url, access_token).json()["number"] == 7


@pytest.mark.parametrize("url", ALL)
def test_without_a_token_it_is_401_and_the_challenge_names_no_error(ask, url):
    response = ask(url)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == NO_TOKEN
    assert response.json() == {"detail": "Authentication credentials were not provided."}


@pytest.mark.parametrize("url", ALL)
def test_a_token_that_is_not_valid_is_refused(ask, access_token, url):
    assert_decorated(ask(url, "abc"), NOT_VALID)
    assert_decorated(ask(url, resign(access_token, exp=in_seconds(-1))), EXPIRED)
    RefreshToken.objects.update(revoked_at=timezone.now())
    assert_decorated(ask(url, access_token), NOT_VALID)


def assert_decorated(response, header):
    """`JsonResponse` puts spaces where Django REST framework has none."""
    response.content = json.dumps(response.json(), separators=(",", ":"))
    assert_refused(response, header)


@pytest.mark.parametrize("url", ALL)
def test_a_header_without_a_token_is_a_malformed_request(ask, url):
    response = ask(url, authorization="Bearer")

    assert response.status_code == 400
    assert 'error="invalid_request"' in response["WWW-Authenticate"]


@pytest.mark.parametrize("url", ["/realm", "/async-realm", "/class-realm"])
def test_without_the_scope_it_is_403_and_the_challenge_names_it(ask, access_token, url):
    assert_insufficient(ask(url, access_token), "orders", realm="orders")
    assert ask(url)["WWW-Authenticate"] == 'Bearer realm="orders"'


@pytest.mark.parametrize("url", ALL)
def test_if_the_database_is_unavailable_the_answer_is_503(ask, monkeypatch, access_token, url):
    def fail(*arguments, **others):
        raise OperationalError("gone")

    monkeypatch.setattr(access_tokens, "read_token_of_session", fail)

    response = ask(url, access_token)

    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert "WWW-Authenticate" not in response
    assert response.json() == {"detail": "try again with the same access token"}


@pytest.mark.parametrize("url", ["/function", "/class", "/async-class"])
def test_a_method_that_is_not_served_is_405_only_with_a_token(ask, access_token, url):
    assert ask(url, method="put").status_code == 401
    if url != "/function":
        assert ask(url, access_token, method="put").status_code == 405


@pytest.mark.parametrize("url", ["/class", "/async-class", "/function"])
def test_no_csrf_token_is_asked_for(access_token, url):
    browser = Browser(enforce_csrf_checks=True)

    assert browser.post(url, HTTP_AUTHORIZATION=f"Bearer {access_token}").status_code == 200


def test_the_user_of_a_django_session_does_not_count(user):
    browser = Browser()
    browser.force_login(user)

    assert browser.get("/function").status_code == 401


def test_a_machine_is_served(ask, machine):
    token = issue_tokens(client=machine, scope="openid")["access_token"]

    assert ask("/function", token).json()["user"] == machine.client_id


def test_a_stateless_view_makes_no_query(user, access_token, django_assert_num_queries):
    key_set.current()

    with django_assert_num_queries(0):
        assert get("/stateless", access_token).json() == {"pk": user.pk}


@pytest.mark.parametrize("url", ["/stateless-reading", "/async-stateless"])
def test_a_stateless_view_that_reads_the_user_judges_the_token(ask, user, access_token, url):
    assert ask(url, access_token).json()["user"] == user.username
    RefreshToken.objects.update(revoked_at=timezone.now())

    assert_decorated(ask(url, access_token), NOT_VALID)


def test_foreign_tokens_are_refused_whatever_the_setting(settings):
    configure(settings, PASS_ON_FOREIGN_TOKENS=True)

    assert_decorated(get("/function", "opaque"), NOT_VALID)


def test_the_view_keeps_its_name_and_docstring():
    assert (function.__name__, function.__doc__) == ("function", "Say who.")
    assert Class.dispatch.__doc__ == View.dispatch.__doc__


@pytest.mark.parametrize("wrong", ["openid", ["a b"], [1], None])
def test_scopes_must_be_a_list_of_names(wrong):
    with pytest.raises(ImproperlyConfigured, match="must be a list of scope names"):
        access_token_required(scopes=wrong)
