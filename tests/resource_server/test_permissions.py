"""Views that require scopes of the access token."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import path
from django.utils import timezone
from rest_framework.permissions import BasePermission, IsAdminUser, IsAuthenticated
from rest_framework.test import APIRequestFactory, force_authenticate

from django_ciam_token import resource_server
from django_ciam_token.resource_server import TokenHasAnyScope, TokenHasScopes, has_any_scope, has_scopes
from tests.resource_server.conftest import NO_TOKEN, Whoami, assert_insufficient, get, view

pytestmark = pytest.mark.django_db


class Nobody(BasePermission):
    message = "nobody may"

    def has_permission(self, request, view):
        return False


class ByMethod(Whoami):
    permission_classes = [TokenHasScopes]
    required_scopes = {"GET": ["email"], "POST": ["openid", "orders:write"], "OPTIONS": []}


class AnyByView(Whoami):
    permission_classes = [TokenHasAnyScope]
    required_scopes = ("orders:read", "email")


urlpatterns = [
    path("by-method", ByMethod.as_view()),
    path("any-by-view", AnyByView.as_view()),
    path("all", view(has_scopes("openid", "orders"))),
    path("all-held", view(has_scopes("openid", "email"))),
    path("any", view(has_any_scope("orders", "invoices"))),
    path("any-held", view(has_any_scope("orders", "email"))),
    path("any-of-none", view(has_any_scope())),
    path("none", view(TokenHasScopes, required_scopes=[])),
    path("orders-or-admin", view(has_scopes("orders") | IsAdminUser)),
    path("admin-or-orders", view(IsAdminUser | has_scopes("orders"))),
    path("both", view(has_scopes("email") & has_scopes("orders"))),
    path("orders-and-more-or-admin", view((IsAuthenticated & has_scopes("orders")) | IsAdminUser)),
    path("not", view(~has_scopes("orders"))),
    path("held-but-nobody", view(has_scopes("email"), Nobody)),
    path("undeclared", view(TokenHasScopes)),
    path("letters", view(TokenHasScopes, required_scopes="orders")),
    path("two-in-one", view(TokenHasScopes, required_scopes=["a b"])),
]


@pytest.mark.parametrize(
    ("url", "method", "needed"),
    [
        ("/all", "get", "openid orders"),
        ("/any", "get", "orders invoices"),
        ("/both", "get", "orders"),
        ("/orders-or-admin", "get", "orders"),
        ("/admin-or-orders", "get", "orders"),
        ("/orders-and-more-or-admin", "get", "orders"),
        ("/by-method", "post", "openid orders:write"),
    ],
)
def test_without_the_scopes_the_answer_is_403_and_names_them(access_token, url, method, needed):
    assert_insufficient(get(url, access_token, method=method), needed)


@pytest.mark.parametrize(
    ("url", "method"),
    [
        ("/all-held", "get"),
        ("/any-held", "get"),
        ("/any-by-view", "get"),
        ("/by-method", "get"),
        ("/by-method", "options"),
        ("/none", "get"),
        ("/not", "get"),
    ],
)
def test_a_token_with_the_scopes_is_accepted(access_token, url, method):
    response = get(url, access_token, method=method)

    assert response.status_code == 200
    assert "WWW-Authenticate" not in response


def test_a_narrower_token_of_the_same_session_is_judged_by_its_own_scope(
    settings, web_client, refresh, first_tokens
):
    settings.ROOT_URLCONF = "tests.urls"
    answer = refresh(web_client, first_tokens["refresh_token"], scope="openid profile")
    narrow = answer.json()["access_token"]
    settings.ROOT_URLCONF = __name__

    assert get("/by-method", first_tokens["access_token"]).status_code == 200
    assert_insufficient(get("/by-method", narrow), "email")


@pytest.mark.parametrize("url", ["/orders-or-admin", "/admin-or-orders", "/orders-and-more-or-admin"])
def test_the_other_side_of_an_or_is_also_asked(web_client, user, access_token, url):
    user.is_staff = True
    user.save()

    response = get(url, access_token)

    assert response.status_code == 200
    assert "WWW-Authenticate" not in response


def test_head_is_treated_like_get_unless_it_is_named(access_token):
    class Headed(ByMethod):
        required_scopes = {"GET": ["email"], "HEAD": ["orders"]}

        head = ByMethod.get

    class Plain(ByMethod):
        head = ByMethod.get

    request = APIRequestFactory().head("/", HTTP_AUTHORIZATION=f"Bearer {access_token}")

    assert Plain.as_view()(request).status_code == 200
    response = Headed.as_view()(request)
    assert response.status_code == 403
    assert response["WWW-Authenticate"] == 'Bearer realm="api", error="insufficient_scope", scope="orders"'


def test_a_method_that_is_not_named_is_refused_whatever_the_scope(access_token):
    response = get("/by-method", access_token, method="put")

    assert response.status_code == 403
    assert "WWW-Authenticate" not in response


def test_a_view_that_requires_any_of_no_scopes_refuses_every_token(access_token):
    assert get("/any-of-none", access_token).status_code == 403


def test_the_refusal_of_another_permission_names_no_scope(access_token):
    response = get("/held-but-nobody", access_token)

    assert response.status_code == 403
    assert response.json() == {"detail": "nobody may"}
    assert "WWW-Authenticate" not in response


@pytest.mark.parametrize("url", ["/all", "/any", "/none", "/by-method"])
def test_without_a_token_it_is_401_and_the_challenge_names_no_scope(url):
    response = get(url)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == NO_TOKEN


@pytest.mark.parametrize("url", ["/all", "/any-held", "/none", "/by-method"])
def test_a_user_authenticated_in_another_way_has_no_scopes(user, url):
    response = get(url, HTTP_X_USER=user.username)

    assert response.status_code == 403
    assert "WWW-Authenticate" not in response


@pytest.mark.parametrize("url", ["/undeclared", "/letters", "/two-in-one"])
def test_a_view_that_does_not_declare_its_scopes_correctly_serves_nobody(access_token, url):
    response = get(url, access_token)

    assert response.status_code == 500


@pytest.mark.parametrize("names", [("a b",), ("",), (1,), ('"',), (["a"],)])
def test_a_wrong_scope_name_is_an_error_when_the_permission_is_made(names):
    with pytest.raises(ImproperlyConfigured, match="must be a list of scope names"):
        has_scopes(*names)
    with pytest.raises(ImproperlyConfigured, match="must be a list of scope names"):
        has_any_scope(*names)


def test_a_sites_own_tests_can_force_a_token(user, access_token):
    live = resource_server.accept(access_token, now=timezone.now())
    request = APIRequestFactory().get("/")
    force_authenticate(request, user=user, token=live)

    assert view(has_scopes("email"))(request).status_code == 200
    response = view(has_scopes("orders"))(request)
    assert response.status_code == 403
    assert response["WWW-Authenticate"] == 'Bearer realm="api", error="insufficient_scope", scope="orders"'
