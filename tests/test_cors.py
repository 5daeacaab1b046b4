"""Browser applications, with django-cors-headers installed."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection
from django.test import Client as Browser
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from django_ciam_token import cors
from django_ciam_token.models import Client
from django_ciam_token.views.token import TokenView
from tests.conftest import post_form
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db

ORIGIN = "https://app.example.com"


@pytest.fixture(autouse=True)
def _client_with_origins():
    ClientFactory(application_type="spa", allowed_origins=f"https://other.example {ORIGIN}")


def test_a_preflight_from_an_allowed_origin_is_answered():
    response = Browser().options(
        "/oauth2/token", HTTP_ORIGIN=ORIGIN, HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST"
    )

    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == ORIGIN


class Narrow(TokenView):
    """A site's own, as the README has it."""


_OWN = [path("oauth2/token", Narrow.as_view(), name="token")]
urlpatterns = [
    path("", include((_OWN, "django_ciam_token"), namespace="own")),
    path("", include("django_ciam_token.urls")),
]


@override_settings(ROOT_URLCONF="tests.test_cors")
def test_a_view_of_the_sites_own_has_the_headers_and_discovery_goes_on():
    response = post_form({"grant_type": "refresh_token"}, HTTP_ORIGIN=ORIGIN)

    assert response.resolver_match.func.cls is Narrow
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    discovered = Browser().get("/.well-known/openid-configuration").json()
    assert discovered["token_endpoint"].endswith("/oauth2/token")


def test_errors_can_be_read_by_the_application_as_well():
    response = post_form({"grant_type": "refresh_token", "client_id": "nobody"}, HTTP_ORIGIN=ORIGIN)

    assert response.status_code == 401
    assert response["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("origin", ["https://evil.example", ORIGIN + ":8443", "null", ORIGIN.upper(), ""])
def test_another_origin_gets_no_headers(origin):
    response = post_form({"grant_type": "refresh_token"}, HTTP_ORIGIN=origin)

    assert "Access-Control-Allow-Origin" not in response


@pytest.mark.parametrize("url", ["/admin/login/", "/nowhere"])
def test_the_rest_of_the_site_is_not_opened(url):
    assert "Access-Control-Allow-Origin" not in Browser().get(url, HTTP_ORIGIN=ORIGIN)


def test_a_client_that_is_switched_off_opens_nothing():
    Client.objects.update(is_active=False)

    assert "Access-Control-Allow-Origin" not in post_form({}, HTTP_ORIGIN=ORIGIN)


def test_origins_are_read_once_in_a_while(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(cors.time, "monotonic", lambda: now[0])
    assert ORIGIN in cors.allowed_origins()
    Client.objects.update(allowed_origins="")

    with CaptureQueriesContext(connection) as queries:
        assert ORIGIN in cors.allowed_origins()
    assert len(queries) == 0
    now[0] += 61
    assert cors.allowed_origins() == frozenset()


def test_while_the_database_is_away_the_origins_read_before_are_used(monkeypatch):
    def fail():
        raise OperationalError("gone")

    now = [1000.0]
    monkeypatch.setattr(cors.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(cors, "_read_origins", fail)
    assert cors.allowed_origins() == frozenset()

    monkeypatch.undo()
    cors.forget()
    monkeypatch.setattr(cors.time, "monotonic", lambda: now[0])
    cors.allowed_origins()
    monkeypatch.setattr(cors, "_read_origins", fail)
    now[0] += 61
    assert ORIGIN in cors.allowed_origins()


def test_without_django_cors_headers_nothing_is_connected(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "corsheaders"]

    cors.connect()


def test_a_request_that_comes_from_no_origin_costs_no_query(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert not cors.allow_client_origins(None, RequestFactory().post("/oauth2/token"))
