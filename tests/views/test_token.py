"""``POST /oauth2/token`` as a specification: one request, one answer."""

from __future__ import annotations

import base64
import json
import re
from typing import ClassVar
from urllib.parse import quote, urlencode

import jwt
import pytest
from django.test import Client as Browser
from django.test import override_settings
from django.urls import path
from rest_framework.throttling import BaseThrottle

from django_ciam_token import api
from django_ciam_token.errors import OAuthError
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.views.token import TokenView
from tests.conftest import TOKEN_URL, post_form
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"
ALLOWED_IN_DESCRIPTION = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")


def basic(client_id, secret):
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


@pytest.fixture
def form(web_client, first_tokens):
    """A request that succeeds, to be spoiled."""
    return {
        "grant_type": "refresh_token",
        "client_id": web_client.client_id,
        "client_secret": web_client.plain_secret,
        "refresh_token": first_tokens["refresh_token"],
    }


def assert_error(response, status, error, *, description=None):
    body = json.loads(response.content)
    assert response.status_code == status, body
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    assert response["Cache-Control"] == "no-store"
    assert response["Pragma"] == "no-cache"
    assert body["error"] == error
    assert set(body) <= {"error", "error_description"}
    if description is None:
        assert response.content == json.dumps({"error": error}).encode()
    else:
        assert description in body["error_description"]
        assert ALLOWED_IN_DESCRIPTION.fullmatch(body["error_description"])


def assert_still_good(form):
    assert post_form(form).status_code == 200


def test_a_refresh_is_answered_byte_for_byte_as_the_reference(web_client, user, form):
    response = post_form({**form, "scope": "openid"})

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    assert response["Cache-Control"] == "no-store"
    assert response["Pragma"] == "no-cache"
    body = json.loads(response.content)
    assert list(body) == ["access_token", "refresh_token", "scope", "id_token", "token_type", "expires_in"]
    assert response.content == json.dumps(body).encode()
    assert body["scope"] == "openid"
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] in (299, 300)
    keys = jwt.PyJWKSet.from_dict(Browser().get("/oauth2/jwks").json())
    for name, audience in (("access_token", web_client.client_id), ("id_token", web_client.client_id)):
        header = jwt.get_unverified_header(body[name])
        assert list(header) == ["kid", "typ", "alg"]
        assert (header["typ"], header["alg"]) == ("JWT", "RS256")
        claims = jwt.decode(body[name], keys[header["kid"]], algorithms=["RS256"], audience=audience)
        assert claims["sub"] == str(user.pk)
        assert claims["iss"] == "https://id.example.com"
    access = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert list(access)[:8] == ["sub", "aud", "nbf", "scope", "iss", "exp", "iat", "jti"]
    assert access["scope"] == ["openid"]
    assert access["exp"] - access["iat"] == 300
    assert access["nbf"] == access["iat"]
    id_token = jwt.decode(body["id_token"], options={"verify_signature": False})
    assert list(id_token)[:7] == ["sub", "aud", "azp", "iss", "exp", "iat", "jti"]
    assert id_token["exp"] - id_token["iat"] == 1800


@pytest.mark.parametrize(
    "authorize",
    [
        lambda client: {"HTTP_AUTHORIZATION": basic(client.client_id, client.plain_secret)},
        lambda client: {
            "HTTP_AUTHORIZATION": basic(client.client_id, client.plain_secret).replace("Basic", "bASIC")
        },
        lambda client: {
            "HTTP_AUTHORIZATION": basic(
                client.client_id.replace("-", "%2D"), quote(client.plain_secret).replace("_", "%5F")
            )
        },
    ],
)
def test_basic_is_accepted_in_any_case_and_form_decoded(form, web_client, authorize):
    del form["client_secret"]
    without_id = {name: value for name, value in form.items() if name != "client_id"}

    assert post_form(form, **authorize(web_client)).status_code == 200
    assert post_form(without_id, **authorize(web_client)).status_code == 200


@pytest.mark.parametrize("application_type", ["spa", "mobile"])
def test_a_public_client_refreshes_without_a_secret(user, refresh, application_type):
    client = ClientFactory(application_type=application_type)
    tokens = api.issue_tokens(client=client, user=user)

    assert refresh(client, tokens["refresh_token"]).status_code == 200


def test_a_machine_refreshes_and_is_its_own_subject(machine, refresh):
    tokens = api.issue_tokens(client=machine)

    body = refresh(machine, tokens["refresh_token"]).json()

    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["sub"] == machine.client_id
    assert "auth_time" not in jwt.decode(body["id_token"], options={"verify_signature": False})


def test_unknown_parameters_and_empty_ones_are_ignored(form):
    response = post_form(
        {**form, "scope": "", "redirect_uri": "https://x", "x-trace": "1", "client_assertion": ""}
    )

    assert response.status_code == 200


@pytest.mark.parametrize("name", ["resource", "audience"])
def test_parameters_that_later_rfcs_let_repeat_may_repeat(form, name):
    assert post_form([*form.items(), (name, "a"), (name, "b")]).status_code == 200


@pytest.mark.parametrize("name", ["grant_type", "client_id", "refresh_token"])
@pytest.mark.parametrize(
    "spoil", [lambda form, name: form.pop(name), lambda form, name: form.update({name: ""})]
)
def test_a_missing_or_empty_parameter_is_named(form, name, spoil):
    spoiled = dict(form)
    spoil(spoiled, name)

    assert_error(post_form(spoiled), 400, "invalid_request", description=f"{name} is missing")
    assert_still_good(form)


@pytest.mark.parametrize(
    "name", ["grant_type", "client_id", "client_secret", "refresh_token", "scope", "x-unknown"]
)
def test_a_repeated_parameter_is_named(form, name):
    response = post_form([*form.items(), (name, form.get(name, "openid")), (name, "other")])

    assert_error(response, 400, "invalid_request", description=f"{name} is repeated")
    assert_still_good(form)


def test_a_very_long_repeated_name_is_not_echoed(form):
    response = post_form([*form.items(), ("n" * 50, "1"), ("n" * 50, "2")])

    assert_error(response, 400, "invalid_request", description="a parameter is repeated")


def test_an_unknown_grant_type(form):
    response = post_form({**form, "grant_type": "password"})

    assert_error(response, 400, "unsupported_grant_type", description="refresh_token")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "description"),
    [
        ('{"grant_type": "refresh_token"}', "application/json", 415, "send a form"),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 415, "send a form"),
        ("a=b", "text/plain", 415, "send a form"),
        ("a=b", FORM + "; charset=iso-8859-1", 415, "UTF-8"),
        (b"grant_type=\xff", FORM, 400, "not valid UTF-8"),
        ("grant_type=%ff", FORM, 400, "not valid UTF-8"),
        ("grant_type=refresh_token&x=%00", FORM, 400, "NUL"),
        ("grant_type=refresh_token&%00=x", FORM, 400, "NUL"),
        ("&".join(f"p{n}=1" for n in range(101)), FORM, 400, "more than 100"),
        ("a=" + "b" * 16384, FORM, 413, "16 KiB"),
        ("", FORM, 400, "grant_type is missing"),
        ('{"grant_type": "refresh_token"}', FORM, 400, "grant_type is missing"),
    ],
)
def test_a_body_that_is_no_proper_form(body, content_type, status, description):
    response = Browser().post(TOKEN_URL, body, content_type=content_type)

    assert_error(response, status, "invalid_request", description=description)


def test_a_body_of_exactly_16_kib_is_read(form):
    length = len("&".join(f"{name}={quote(value)}" for name, value in form.items()))

    assert post_form({**form, "x": "y" * (16 * 1024 - length - len("&x="))}).status_code == 200


def test_a_compressed_body_is_refused(form):
    response = post_form(form, HTTP_CONTENT_ENCODING="gzip")

    assert_error(response, 415, "invalid_request", description="compress")


@pytest.mark.parametrize("name", ["client_secret", "refresh_token", "client_assertion"])
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


def test_accept_does_not_matter(form):
    response = post_form({**form, "refresh_token": "wrong"}, HTTP_ACCEPT="text/html")

    assert_error(response, 400, "invalid_grant")


def test_two_ways_of_client_authentication_at_once_are_refused(form, web_client):
    header = basic(web_client.client_id, web_client.plain_secret)

    response = post_form(form, HTTP_AUTHORIZATION=header)

    assert_error(response, 400, "invalid_request", description="not both")
    assert not response.has_header("WWW-Authenticate")
    assert_still_good(form)


def test_a_client_id_that_differs_from_the_header_is_refused(form, web_client):
    header = basic(web_client.client_id, web_client.plain_secret)

    response = post_form(
        {"grant_type": "refresh_token", "client_id": "other", "refresh_token": form["refresh_token"]},
        HTTP_AUTHORIZATION=header,
    )

    assert_error(response, 400, "invalid_request", description="client_id differs")


def spoil_unknown(client, form):
    form["client_id"] = "nobody"


def spoil_case(client, form):
    form["client_id"] = form["client_id"].upper()


def spoil_wrong_secret(client, form):
    form["client_secret"] = "wrong"


def spoil_missing_secret(client, form):
    del form["client_secret"]


def spoil_disabled(client, form):
    Client.objects.update(is_active=False)


def spoil_assertion(client, form):
    del form["client_secret"]
    form["client_assertion"] = "eyJ"


@pytest.mark.parametrize(
    "spoil",
    [spoil_unknown, spoil_case, spoil_wrong_secret, spoil_missing_secret, spoil_disabled, spoil_assertion],
)
def test_every_failure_of_client_authentication_looks_the_same(web_client, form, spoil):
    spoil(web_client, form)

    response = post_form(form)

    assert_error(response, 401, "invalid_client")
    assert not response.has_header("WWW-Authenticate")
    assert RefreshToken.objects.get().generation == 0


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


def test_a_public_client_that_sends_a_secret_is_refused(spa_client, user):
    tokens = api.issue_tokens(client=spa_client, user=user)

    response = post_form(
        {
            "grant_type": "refresh_token",
            "client_id": spa_client.client_id,
            "client_secret": "made-up",
            "refresh_token": tokens["refresh_token"],
        }
    )

    assert_error(response, 401, "invalid_client")


def test_a_client_without_refresh_tokens_is_unauthorized(form):
    Client.objects.update(refresh_tokens_enabled=False)

    assert_error(post_form(form), 400, "unauthorized_client", description="refresh tokens")


@pytest.mark.parametrize(
    "scope", ["openid admin", "admin", "openid  profile", " openid", 'openid"', "openid\\", "öpenid", "a\tb"]
)
def test_a_wider_or_malformed_scope_is_refused_and_loses_nothing(form, scope):
    response = post_form({**form, "scope": scope})

    assert_error(response, 400, "invalid_scope", description="scope")
    assert RefreshToken.objects.get().generation == 0
    assert_still_good(form)


def explode(**arguments):
    raise RuntimeError("a hook of the site failed")


def test_an_internal_failure_reveals_nothing_and_changes_nothing(form, settings, traces):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_CLAIMS": explode}

    response = post_form(form)

    assert_error(response, 500, "server_error")
    assert RefreshToken.objects.get().generation == 0
    assert any("a hook of the site failed" in line for line in traces.logged)


def test_an_internal_failure_reaches_error_trackers(form, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_CLAIMS": explode}

    with pytest.raises(RuntimeError):
        Browser().post(TOKEN_URL, "&".join(f"{n}={quote(v)}" for n, v in form.items()), content_type=FORM)


def test_an_error_report_of_django_holds_no_secret(form, settings):
    """The HTML that Django mails to ADMINS has the request and the variables of every frame."""
    from django.core.signals import got_request_exception
    from django.views.debug import ExceptionReporter

    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_CLAIMS": explode}
    reports = []

    def report(request, **kwargs):
        import sys

        reports.append(ExceptionReporter(request, *sys.exc_info(), is_email=True).get_traceback_html())

    got_request_exception.connect(report)
    try:
        post_form(form)
    finally:
        got_request_exception.disconnect(report)

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


class ConfirmingGrant:
    """A grant of the host site."""

    def __call__(self, request):
        raise NotImplementedByHost(f'hello "{request.client.client_id}" \\ ä', reason="own")


class NotImplementedByHost(OAuthError):
    error = "invalid_grant"


own_grant = ConfirmingGrant()


def test_a_site_adds_a_grant_without_touching_the_view(form, settings, web_client):
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "GRANTS": {"urn:own": "tests.views.test_token.own_grant"},
    }

    response = post_form({**form, "grant_type": "urn:own"})

    assert_error(response, 400, "invalid_grant", description=f"hello ?{web_client.client_id}? ? ?")
    assert_error(post_form(form), 400, "unsupported_grant_type", description="urn:own")


class Closed(BaseThrottle):
    """A site's own limit."""

    def allow_request(self, request, view):
        return False

    def wait(self):
        return 2.5


class HouseRules(TokenView):
    """A site that subclasses the view as it would any DRF view."""

    throttle_classes = (*TokenView.throttle_classes, Closed)


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


urlpatterns = [path("oauth2/token", HouseRules.as_view()), path("watched", Watched.as_view())]


@override_settings(ROOT_URLCONF="tests.views.test_token")
def test_a_site_can_subclass_the_view_and_set_a_limit_of_its_own(form):
    response = post_form(form)

    assert_error(response, 429, "temporarily_unavailable", description="too many requests")
    assert response["Retry-After"] == "3"


@override_settings(ROOT_URLCONF="tests.views.test_token")
def test_a_subclass_may_look_at_the_request_before_and_after(form, web_client):
    Curious.seen.clear()

    response = Browser().post("/watched", urlencode(form), content_type=FORM)

    assert response.status_code == 200
    assert Curious.seen == [(web_client.client_id, "refresh_token", True)]
    assert response["X-Scope"] == "none"


@override_settings(ROOT_URLCONF="tests.views.test_token")
def test_what_a_subclass_looks_at_must_be_a_form_as_well(form):
    response = Browser().post("/watched", form, content_type="application/json")

    assert_error(response, 415, "invalid_request", description="send a form")


@override_settings(MIDDLEWARE=[])  # Of which one says so, too.
def test_an_answer_says_how_long_it_is(form):
    response = post_form(form)

    assert response["Content-Length"] == str(len(response.content))


def test_the_case_of_the_content_type_does_not_matter(form):
    response = Browser().post(TOKEN_URL, urlencode(form), content_type=FORM.upper())

    assert response.status_code == 200


def test_a_length_that_is_no_number_counts_as_none(form):
    response = Browser().generic("POST", TOKEN_URL, urlencode(form), FORM, CONTENT_LENGTH="x")

    assert_error(response, 400, "invalid_request", description="grant_type is missing")


@override_settings(
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.BrowsableAPIRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
        "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"],
        "DEFAULT_THROTTLE_RATES": {"anon": "1/day"},
        "EXCEPTION_HANDLER": "tests.views.test_token.explode",
        "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
        "ALLOWED_VERSIONS": ["9"],
        "COMPACT_JSON": True,
    }
)
def test_nothing_in_the_hosts_rest_framework_defaults_changes_the_endpoint(form):
    for _ in range(3):
        assert post_form(form).status_code == 200
    assert_error(post_form({**form, "refresh_token": "x"}), 400, "invalid_grant")


def test_middleware_that_has_read_the_form_does_no_harm(form, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.views.test_token.reads_the_form"]

    assert post_form(form).status_code == 200


def test_middleware_that_has_read_a_multipart_form_opens_no_back_door(form, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.views.test_token.reads_the_form"]

    response = Browser().post(TOKEN_URL, form)  # Multipart is what the test client sends by default.

    assert_error(response, 415, "invalid_request", description="send a form")


def test_a_body_in_chunks_is_told_to_come_whole(form):
    response = Browser().generic(
        "POST", TOKEN_URL, content_type=FORM, HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH=""
    )

    assert_error(response, 411, "invalid_request", description="Content-Length")


def test_a_refusal_is_logged_with_whom_it_concerns(form, web_client, traces):
    session = RefreshToken.objects.get()
    session.revoked_at = session.issued_at
    session.save()

    post_form(form)

    [line] = [line for line in traces.logged if "'event': 'request_refused'" in line]
    assert "'reason': 'revoked'" in line
    assert f"'client_id': '{web_client.client_id}'" in line
    assert f"'session_id': '{session.pk}'" in line


@pytest.mark.parametrize("sub", [None, "", "x" * 256])
def test_a_subject_that_would_not_tell_users_apart_is_refused(form, settings, sub):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SUBJECT": lambda user: sub}

    assert_error(post_form(form), 500, "server_error")
    assert RefreshToken.objects.get().generation == 0


@pytest.mark.parametrize("claims", [None, [], {"x": float("nan")}, {"x": object()}, {"sub": "admin"}])
def test_claims_that_no_jwt_can_have_change_nothing(form, settings, claims):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ID_TOKEN_CLAIMS": lambda **arguments: claims}

    assert_error(post_form(form), 500, "server_error")
    assert RefreshToken.objects.get().generation == 0


def reads_the_form(get_response):
    def middleware(request):
        assert request.POST["grant_type"]
        return get_response(request)

    return middleware
