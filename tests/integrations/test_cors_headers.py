"""Browser applications, with django-cors-headers installed."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, ProgrammingError, connection
from django.test import AsyncClient, RequestFactory, override_settings
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from django_ciam_token.api import issue_tokens
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.integrations import cors_headers
from django_ciam_token.models import Client
from django_ciam_token.views.token import TokenView
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory

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


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("are_known", [True, False])
def test_under_asgi_the_application_can_read_its_tokens(are_known):
    """Under ASGI the middleware asks on the event loop, after the view has committed the rotation."""
    client = Client.objects.get()
    token = issue_tokens(client=client, user=UserFactory())["refresh_token"]
    form = {"grant_type": "refresh_token", "client_id": client.client_id, "refresh_token": token}
    if are_known:
        cors_headers.allowed_origins()

    response = async_to_sync(AsyncClient().post)(
        "/oauth2/token",
        urlencode(form),
        content_type="application/x-www-form-urlencoded",
        headers={"Origin": ORIGIN},
    )

    assert response.status_code == 200
    assert response.json()["refresh_token"] != token
    assert response["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.django_db(transaction=True)
def test_under_asgi_a_preflight_is_answered():
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}

    response = async_to_sync(AsyncClient().options)("/oauth2/token", headers=headers)

    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == ORIGIN


class Narrow(TokenView):
    """A site's own view, as in the README."""


_OWN = [path("oauth2/token", Narrow.as_view(), name="token")]
urlpatterns = [
    path("", include((_OWN, "django_ciam_token"), namespace="own")),
    path("", include("django_ciam_token.urls")),
]


@override_settings(ROOT_URLCONF="tests.integrations.test_cors_headers")
def test_a_sites_own_view_has_the_headers_and_discovery_still_works():
    response = post_form({"grant_type": "refresh_token"}, HTTP_ORIGIN=ORIGIN)

    assert response.resolver_match.func.cls is Narrow
    assert response["Access-Control-Allow-Origin"] == ORIGIN
    discovered = Browser().get("/.well-known/openid-configuration").json()
    assert discovered["token_endpoint"].endswith("/oauth2/token")


def test_the_application_can_read_errors_too():
    response = post_form({"grant_type": "refresh_token", "client_id": "nobody"}, HTTP_ORIGIN=ORIGIN)

    assert response.status_code == 401
    assert response["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize("origin", ["https://evil.example", ORIGIN + ":8443", "null", ORIGIN.upper(), ""])
def test_another_origin_gets_no_headers(origin):
    response = post_form({"grant_type": "refresh_token"}, HTTP_ORIGIN=origin)

    assert "Access-Control-Allow-Origin" not in response


@pytest.mark.parametrize("url", ["/admin/login/", "/nowhere"])
def test_the_rest_of_the_site_allows_no_origin(url):
    assert "Access-Control-Allow-Origin" not in Browser().get(url, HTTP_ORIGIN=ORIGIN)


def test_an_inactive_client_allows_no_origin():
    Client.objects.update(is_active=False)

    assert "Access-Control-Allow-Origin" not in post_form({}, HTTP_ORIGIN=ORIGIN)


def test_origins_are_cached_for_a_while(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(cors_headers.time, "monotonic", lambda: now[0])
    assert ORIGIN in cors_headers.allowed_origins()
    Client.objects.update(allowed_origins="")

    with CaptureQueriesContext(connection) as queries:
        assert ORIGIN in cors_headers.allowed_origins()
    assert len(queries) == 0
    now[0] += 61
    assert cors_headers.allowed_origins() == frozenset()


ERRORS = [TemporarilyUnavailable("gone", reason="database_unavailable"), ProgrammingError("no such table")]


@pytest.mark.parametrize("error", ERRORS)
def test_while_the_database_is_unavailable_the_last_origins_stay_in_use(monkeypatch, error):
    readings = []

    def fail():
        readings.append(now[0])
        raise error

    now = [1000.0]
    monkeypatch.setattr(cors_headers.time, "monotonic", lambda: now[0])
    cors_headers.allowed_origins()
    Client.objects.update(allowed_origins="")
    with monkeypatch.context() as patched:
        patched.setattr(cors_headers, "_read_origins", fail)
        for now[0] in (1061.0, 1062.0, 1065.9, 1066.0):
            assert ORIGIN in cors_headers.allowed_origins()
    assert readings == [1061.0, 1066.0]
    now[0] = 1071.0
    assert cors_headers.allowed_origins() == frozenset()


@pytest.mark.parametrize("error", ERRORS)
def test_origins_that_could_not_be_read_at_first_are_read_at_the_next_request(monkeypatch, error):
    def fail():
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(cors_headers, "_read_origins", fail)
        response = post_form({}, HTTP_ORIGIN=ORIGIN)
    assert response.status_code == 400
    assert "Access-Control-Allow-Origin" not in response

    assert post_form({}, HTTP_ORIGIN=ORIGIN)["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.django_db(transaction=True)
def test_a_broken_connection_is_reopened_to_read_the_origins(monkeypatch):
    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)
    failures = [OperationalError("server closed the connection")]

    def fail_once(execute, *args):
        if failures:
            raise failures.pop()
        return execute(*args)

    with connection.execute_wrapper(fail_once):
        assert ORIGIN in cors_headers.allowed_origins()
    assert not failures


def test_without_django_cors_headers_nothing_is_connected(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "corsheaders"]

    cors_headers.connect()


def test_a_request_without_an_origin_costs_no_query(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert not cors_headers.allow_client_origins(None, RequestFactory().post("/oauth2/token"))
