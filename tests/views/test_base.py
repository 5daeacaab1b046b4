"""What all endpoints share, tested at the token endpoint."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote, urlencode

import pytest
from django.test import Client as Browser
from django.test import override_settings
from django.urls import path
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import RefreshToken
from django_ciam_token.views.base import _forget_frames_of_refusals
from django_ciam_token.views.token import TokenView
from tests.conftest import TOKEN_URL, post_form
from tests.views.conftest import FORM, assert_error, basic

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "name",
    ["client_secret", "client_assertion", "refresh_token", "access_token", "token", "code", "password"],
)
def test_secrets_in_the_query_string_are_refused(form, name):
    browser = Browser(raise_request_exception=False)

    response = browser.post(f"{TOKEN_URL}?{name}=x", form, content_type=FORM)

    assert_error(response, 400, "invalid_request", description=f"{name} was sent in the query string")


def test_parameters_in_the_query_string_are_never_read(form):
    del form["grant_type"]

    response = Browser().post(
        f"{TOKEN_URL}?grant_type=refresh_token",
        "&".join(f"{n}={quote(v)}" for n, v in form.items()),
        content_type=FORM,
    )

    assert_error(response, 400, "invalid_request", description="grant_type is missing")


def test_a_query_string_with_too_many_fields_is_a_bad_request():
    response = Browser().post(f"{TOKEN_URL}?" + "&".join(f"p{n}=1" for n in range(1100)))

    assert_error(response, 400, "invalid_request", description="could not be read")


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_another_method_is_answered_405_in_json(method):
    response = getattr(Browser(), method)(f"{TOKEN_URL}?refresh_token=x")

    assert response.status_code == 405
    assert response["Allow"] == "POST"
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    if method != "head":
        assert response.json() == {"error": "invalid_request", "error_description": "use POST"}


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic YQ==", "basic " + "A" * 9, "Basic OmE="])
def test_a_broken_or_wrong_basic_header_is_challenged(form, header):
    response = post_form(form | {"client_secret": ""}, HTTP_AUTHORIZATION=header)

    assert_error(response, 401, "invalid_client")
    assert response["WWW-Authenticate"] == 'Basic realm="oauth2"'


def test_a_wrong_secret_in_basic_is_challenged(form, web_client):
    del form["client_secret"]

    response = post_form(form, HTTP_AUTHORIZATION=basic(web_client.client_id, "wrong"))

    assert_error(response, 401, "invalid_client")
    assert response["WWW-Authenticate"] == 'Basic realm="oauth2"'


def explode(**arguments):
    raise RuntimeError("a hook of the site failed")


def test_an_internal_failure_reveals_nothing_and_changes_nothing(form, settings, traces):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_CLAIMS": explode}

    response = post_form(form)

    assert_error(response, 500, "server_error")
    assert RefreshToken.objects.get().generation == 0
    assert any("a hook of the site failed" in line for line in traces.logged)


class Unserialisable(TokenView):
    """A subclass that adds what JSON does not have; it fails when the answer is rendered."""

    def post(self, request):
        return Response({"member": object()})


class BrokenAnswer(BaseThrottle):
    """Fails when a refusal is answered."""

    def allow_request(self, request, view):
        return False

    def wait(self):
        raise RuntimeError("a throttle of the site failed")


class BrokenThrottle(TokenView):
    throttle_classes = (BrokenAnswer,)


class BrokenHandler(TokenView):
    def handle_exception(self, exc):
        raise RuntimeError("an error handler of the site failed") from exc


@override_settings(ROOT_URLCONF="tests.views.test_base")
@pytest.mark.parametrize("url", ["/unserialisable", "/broken-throttle", "/broken-handler"])
def test_an_error_while_an_answer_is_made_is_the_json_answer_too(form, traces, url):
    response = post_form({**form, "refresh_token": "x"}, url=url)

    assert_error(response, 500, "server_error")
    assert any("Internal error at" in line for line in traces.logged)
    # It is reported once, with its traceback, and not as a request that was refused.
    assert not any("request_refused" in line for line in traces.logged)
    with pytest.raises((RuntimeError, TypeError)):
        # It reaches error trackers.
        Browser().post(url, urlencode({**form, "refresh_token": "x"}), content_type=FORM)


def test_an_internal_failure_reaches_error_trackers(form, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_CLAIMS": explode}

    with pytest.raises(RuntimeError):
        Browser().post(TOKEN_URL, "&".join(f"{n}={quote(v)}" for n, v in form.items()), content_type=FORM)


def test_an_error_report_of_django_holds_no_secret(form, settings):
    """The HTML that Django mails to ADMINS contains the request and the variables of every frame."""
    from django.core.signals import got_request_exception
    from django.views.debug import ExceptionReporter

    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_CLAIMS": explode}
    reports = []

    senders = []

    def report(sender, request, **kwargs):
        import sys

        senders.append(sender)
        reports.append(ExceptionReporter(request, *sys.exc_info(), is_email=True).get_traceback_html())

    got_request_exception.connect(report)
    try:
        post_form(form)
    finally:
        got_request_exception.disconnect(report)

    assert senders == [TokenView]
    assert "a hook of the site failed" in reports[0]
    assert form["refresh_token"] not in reports[0]
    assert form["client_secret"] not in reports[0]


def unavailable(*args, **arguments):
    from django.db import OperationalError

    raise OperationalError("the site's own query failed")


@pytest.mark.parametrize("hook", ["ACCESS_TOKEN_CLAIMS", "CLIENT_ADDRESS"])
def test_a_database_failure_in_a_hook_is_answered_503(form, settings, hook):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, hook: unavailable}

    response = post_form(form)

    assert_error(response, 503, "temporarily_unavailable", description="try again")
    assert response["Retry-After"] == "1"
    assert RefreshToken.objects.get().generation == 0


def test_a_refusal_is_logged_with_its_client_and_session(form, web_client, traces):
    session = RefreshToken.objects.get()
    session.revoked_at = session.issued_at
    session.save()

    post_form(form)

    [line] = [line for line in traces.logged if "'event': 'request_refused'" in line]
    assert "'reason': 'revoked'" in line
    assert f"'client_id': '{web_client.client_id}'" in line
    assert f"'session_id': '{session.pk}'" in line


class Closed(BaseThrottle):
    """A site's own limit."""

    def allow_request(self, request, view):
        return False

    def wait(self):
        return 2.5


class HouseRules(TokenView):
    """A site subclasses the view like any other DRF view."""

    throttle_classes = (*TokenView.throttle_classes, Closed)


class AtOnce(Closed):
    def wait(self):
        return 0


class Impatient(TokenView):
    throttle_classes = (AtOnce,)


class Curious(BaseThrottle):
    """Looks at a request before the view does."""

    seen: ClassVar[list] = []

    def allow_request(self, request, view):
        self.seen.append((request.data["client_id"], request.POST["grant_type"], request.user.is_anonymous))
        return True


class Watched(TokenView):
    throttle_classes = (Curious,)

    def post(self, request):
        response = super().post(request)
        response["X-Scope"] = request.data.get("scope", "none")
        return response


urlpatterns = [
    path("oauth2/token", HouseRules.as_view()),
    path("watched", Watched.as_view()),
    path("impatient", Impatient.as_view()),
    path("unserialisable", Unserialisable.as_view()),
    path("broken-throttle", BrokenThrottle.as_view()),
    path("broken-handler", BrokenHandler.as_view()),
]


@override_settings(ROOT_URLCONF="tests.views.test_base")
def test_a_site_can_subclass_the_view_and_set_its_own_limit(form):
    response = post_form(form)

    assert_error(response, 429, "temporarily_unavailable", description="too many requests")
    assert response["Retry-After"] == "3"
    assert post_form(form, url="/impatient")["Retry-After"] == "0"


@override_settings(ROOT_URLCONF="tests.views.test_base")
def test_a_subclass_may_look_at_the_request_before_and_after(form, web_client):
    Curious.seen.clear()

    response = Browser().post("/watched", urlencode(form), content_type=FORM)

    assert response.status_code == 200
    assert Curious.seen == [(web_client.client_id, "refresh_token", True)]
    assert response["X-Scope"] == "none"


@override_settings(ROOT_URLCONF="tests.views.test_base")
def test_a_subclass_sees_only_forms_too(form, traces):
    response = Browser().post("/watched", form, content_type="application/json")

    assert_error(response, 415, "invalid_request", description="send a form")
    assert any("'reason': 'not_a_form'" in line for line in traces.logged)


@override_settings(
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.BrowsableAPIRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
        "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"],
        "DEFAULT_THROTTLE_RATES": {"anon": "1/day"},
        "EXCEPTION_HANDLER": "tests.views.test_base.explode",
        "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
        "ALLOWED_VERSIONS": ["9"],
        "COMPACT_JSON": True,
    }
)
def test_nothing_in_the_hosts_rest_framework_defaults_changes_the_endpoint(form):
    for _ in range(3):
        assert post_form(form).status_code == 200
    assert_error(post_form({**form, "refresh_token": "x"}), 400, "invalid_grant")


def reads_the_form(get_response):
    def middleware(request):
        assert request.POST["grant_type"]
        return get_response(request)

    return middleware


def test_middleware_that_has_read_the_form_does_no_harm(form, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.views.test_base.reads_the_form"]

    assert post_form(form).status_code == 200


def test_a_multipart_form_is_refused_even_if_middleware_has_read_it(form, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.views.test_base.reads_the_form"]

    response = Browser().post(TOKEN_URL, form)  # The test client sends multipart by default.

    assert_error(response, 415, "invalid_request", description="send a form")


def test_the_frames_of_a_refusal_are_forgotten_wherever_it_is_among_the_causes():
    """What went wrong while a refusal was answered is reported, without the frames that read a secret."""
    refusal, between, last = InvalidGrant(reason="unknown"), KeyError(), ValueError()
    try:
        raise refusal
    except InvalidGrant:
        between.__context__ = refusal
        last.__cause__ = between

    _forget_frames_of_refusals(last)

    assert refusal.__traceback__ is None
    assert last.__cause__ is between
