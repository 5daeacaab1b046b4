"""Browser applications, with django-cors-headers installed."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import OperationalError, ProgrammingError, connection, connections
from django.test import AsyncClient, RequestFactory, override_settings
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from django_ciam_token.api import issue_tokens
from django_ciam_token.database.tenants import tenant_key
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
    """A site's own view, as in docs/how-to/protected-views.md."""


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
    monkeypatch.setattr("time.monotonic", lambda: now[0])
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

    def fail(using):
        readings.append(now[0])
        raise error

    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
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
def test_what_could_not_be_read_at_first_is_read_as_soon_as_possible(monkeypatch, error):
    def fail(using):
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


@pytest.fixture
def hanging(monkeypatch):
    """A database that accepts connections and answers nothing, until it is told to."""
    answers, readings, begins = threading.Event(), [], threading.Semaphore(0)
    read = cors_headers._read_origins

    def hang(using):
        readings.append(using)
        begins.release()
        answers.wait(20)
        return read(using)

    def begun(number):
        # On a busy machine a thread that was started may not have come to anything yet.
        assert all(begins.acquire(timeout=20) for _ in range(number))
        return len(readings) == number

    monkeypatch.setattr(cors_headers, "_read_origins", hang)
    yield SimpleNamespace(answers=answers.set, begun=begun)
    answers.set()
    for thread in threading.enumerate():
        if thread.name == cors_headers.THREAD:
            thread.join(20)


def on_a_loop(function):
    async def run():
        return function()

    return asyncio.run(run())


@pytest.fixture
def an_old_copy(monkeypatch):
    cors_headers.allowed_origins()
    later = time.monotonic() + 61
    monkeypatch.setattr("time.monotonic", lambda: later)


@pytest.mark.django_db(transaction=True)
def test_an_event_loop_does_not_wait_for_the_database(an_old_copy, hanging):
    for _ in range(5):
        began = time.perf_counter()
        assert ORIGIN in on_a_loop(cors_headers.allowed_origins)
        assert time.perf_counter() - began < 2

    # One thread reads for all of them.
    assert hanging.begun(1)


@pytest.mark.django_db(transaction=True)
def test_what_is_read_in_the_background_is_known_afterwards(an_old_copy, hanging):
    Client.objects.update(allowed_origins="https://new.example")
    assert ORIGIN in on_a_loop(cors_headers.allowed_origins)
    [reading] = cors_headers._readings.values()

    hanging.answers()

    assert reading.done.wait(20)
    assert on_a_loop(cors_headers.allowed_origins) == {"https://new.example"}
    assert not cors_headers._readings


@pytest.mark.django_db(transaction=True)
def test_before_the_first_reading_an_event_loop_knows_none(hanging):
    assert on_a_loop(cors_headers.allowed_origins) == frozenset()


@pytest.mark.django_db(transaction=True)
def test_a_reading_that_is_stuck_is_given_up(an_old_copy, hanging, monkeypatch):
    on_a_loop(cors_headers.allowed_origins)
    later = time.monotonic() + 61
    monkeypatch.setattr("time.monotonic", lambda: later)

    on_a_loop(cors_headers.allowed_origins)

    assert hanging.begun(2)


@pytest.mark.django_db(transaction=True)
def test_unrelated_requests_are_answered_while_the_database_hangs(hanging):
    """The first from a browser waits for a second, off the event loop; the others not even that."""

    async def ask(times, **headers):
        for _ in range(times):
            began = time.perf_counter()
            assert (await AsyncClient().get("/nowhere", headers=headers)).status_code == 404
            times_taken.append(time.perf_counter() - began)

    async def run():
        await ask(1, Origin=ORIGIN)
        await ask(3)
        await ask(3, Origin=ORIGIN)

    times_taken = []
    began = time.perf_counter()
    async_to_sync(run)()

    assert time.perf_counter() - began < 10
    assert times_taken[0] > 0.9
    assert sum(taken > 0.9 for taken in times_taken) == 1
    assert hanging.begun(1)


def test_a_thread_that_fails_otherwise_leaves_a_line_in_the_log(monkeypatch, caplog):
    def fail(using):
        raise RuntimeError("Database access not allowed")

    monkeypatch.setattr(cors_headers, "_read_origins", fail)
    reading = cors_headers._read_in_background("default", tenant_key("default"))

    assert reading.done.wait(20)
    assert "can't be read: RuntimeError" in caplog.text


def test_a_thread_that_sees_another_tenant_reads_nothing(caplog):
    reading = cors_headers._read_in_background("default", ("default", "a tenant of the caller's thread"))

    assert reading.done.wait(20)
    assert not cors_headers._copies
    assert "does not see the same tenant" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_the_tenant_is_found_in_the_context_of_the_request():
    tenant = contextvars.ContextVar("tenant", default="nobody")
    with override_settings(CIAM_TOKEN={**settings.CIAM_TOKEN, "CACHE_SCOPE": tenant.get}):
        tenant.set("blue")
        reading = cors_headers._read_in_background("default", tenant_key("default"))

        assert reading.done.wait(20)
        assert ORIGIN in cors_headers.allowed_origins()
        assert list(cors_headers._copies) == [("default", "blue")]


def test_the_origins_of_one_tenant_are_not_those_of_another(monkeypatch):
    monkeypatch.setattr(connections["default"], "schema_name", "blue", raising=False)
    assert ORIGIN in cors_headers.allowed_origins()
    Client.objects.update(allowed_origins="https://green.example")
    monkeypatch.setattr(connections["default"], "schema_name", "green", raising=False)

    assert cors_headers.allowed_origins() == {"https://green.example"}


def test_on_an_event_loop_the_schema_is_not_that_of_the_request(monkeypatch):
    monkeypatch.setattr(connections["default"], "schema_name", "blue", raising=False)
    assert ORIGIN in cors_headers.allowed_origins()

    async def ask():
        # As a connection of the loop's own thread has one.
        monkeypatch.setattr(cors_headers, "_has_schemas", lambda using: True)
        return cors_headers.allowed_origins()

    assert asyncio.run(ask()) == frozenset()


class UrlconfOfHost:
    """As sites have it with one URLconf for each host."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        request.urlconf = "tests.urls" if request.get_host() == "id.example.com" else "tests.admin_urls"
        return self.get_response(request)


@override_settings(
    ROOT_URLCONF="tests.admin_urls",
    MIDDLEWARE=["tests.integrations.test_cors_headers.UrlconfOfHost", *settings.MIDDLEWARE],
)
@pytest.mark.parametrize(("host", "allowed"), [("id.example.com", ORIGIN), ("www.example.com", None)])
def test_a_preflight_is_looked_up_in_the_urlconf_of_its_host(host, allowed):
    answer = Browser().options(
        "/oauth2/token", HTTP_HOST=host, HTTP_ORIGIN=ORIGIN, HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST"
    )

    assert answer.get("Access-Control-Allow-Origin") == allowed
