"""``/oauth2/authorize``, over HTTP: where answers go, signing in, and the code."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import Client as Browser
from django.utils import timezone

from django_ciam_token.authorization import continuation
from django_ciam_token.authorization import request as authorization_request
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.monitoring.allowance import Allowance
from django_ciam_token.tokens import authorization_codes
from tests.authorization.conftest import (
    AUTHORIZE,
    CALLBACK,
    NONCE,
    PASSWORD,
    STATE,
    VERIFIER,
    answer_of,
    assert_headers,
    assert_page,
    assert_sent_back,
    claims_of,
    exchange,
    next_of,
    parameters,
    url,
)
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db


def post(browser, form, **extra):
    body = form if isinstance(form, (str, bytes)) else urlencode(form)
    return browser.post(AUTHORIZE, body, content_type="application/x-www-form-urlencoded", **extra)


# The answer


def test_who_is_signed_in_goes_back_with_a_code_that_gives_tokens(signed_in, application, user):
    response = signed_in.get(url(application))

    answer = answer_of(response)
    assert response.status_code == 302
    assert list(answer) == ["code", "state", "iss"]
    assert (answer["state"], answer["iss"]) == (STATE, "https://id.example.com")
    assert_headers(response)
    claims = claims_of(exchange(application, answer["code"])["id_token"])
    assert (claims["sub"], claims["nonce"]) == (str(user.pk), NONCE)
    assert 0 <= timezone.now().timestamp() - claims["auth_time"] < 60


def test_without_state_nonce_and_pkce_none_of_them_comes_back(signed_in, application):
    response = signed_in.get(
        url(application, state=None, nonce=None, code_challenge=None, code_challenge_method=None)
    )

    answer = answer_of(response)
    assert list(answer) == ["code", "iss"]
    tokens = exchange(application, answer["code"], code_verifier=None)
    assert "nonce" not in claims_of(tokens["id_token"])


def test_a_form_does_what_a_query_does_without_a_csrf_token(signed_in, application):
    response = post(signed_in, parameters(application))

    assert response.status_code == 303
    assert exchange(application, answer_of(response)["code"])["scope"] == "openid"


@pytest.mark.parametrize(
    ("registered", "wanted"),
    [
        ("https://app.example.com/cb?a=%2f&b=&c", "https://app.example.com/cb?a=%2f&b=&c&code="),
        ("https://app.example.com/cb?", "https://app.example.com/cb?code="),
        ("https://app.example.com", "https://app.example.com?code="),
    ],
)
def test_the_query_of_the_redirect_uri_is_kept_byte_for_byte(signed_in, registered, wanted):
    application = ClientFactory(redirect_uris=registered)

    response = signed_in.get(url(application, redirect_uri=registered))

    assert response["Location"].startswith(wanted)


def test_mobile_applications_have_schemes_of_their_own_and_loopback_ports(signed_in):
    application = ClientFactory(
        application_type="mobile", redirect_uris="com.example.app:/callback\nhttp://127.0.0.1/cb"
    )

    private = signed_in.get(url(application, redirect_uri="com.example.app:/callback"))
    loopback = signed_in.get(url(application, redirect_uri="http://127.0.0.1:49152/cb"))

    assert private["Location"].startswith("com.example.app:/callback?code=")
    assert loopback["Location"].startswith("http://127.0.0.1:49152/cb?code=")


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:49152/other",
        "http://127.0.0.1:49152/cb/",
        "http://127.0.0.1:49152/cb?a=b",
        "http://[::1]:49152/cb",
        "http://localhost:49152/cb",
        "http://127.0.0.2:49152/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1:49152.evil.example/cb",
        "http://127.0.0.1:49152@evil.example/cb",
        "https://127.0.0.1:49152/cb",
        "com.example.app:/elsewhere",
    ],
)
def test_nothing_but_the_port_of_a_loopback_address_may_differ(signed_in, uri):
    application = ClientFactory(
        application_type="mobile", redirect_uris="com.example.app:/callback\nhttp://127.0.0.1/cb"
    )

    assert_page(signed_in.get(url(application, redirect_uri=uri)), 400)


def test_state_of_two_thousand_characters_comes_back_unchanged_through_the_login_page(
    browser, application, user
):
    state = ("{\"a\": 'ä +&=%#€'}\\" * 120)[:2000]

    to_login = browser.get(url(application, state=state))
    signed = browser.post(
        to_login["Location"],
        {"username": user.get_username(), "password": PASSWORD, **csrf(browser, to_login)},
    )
    response = browser.get(signed["Location"])

    assert urlsplit(signed["Location"]).path == AUTHORIZE
    assert answer_of(response)["state"] == state
    assert "code" in answer_of(response)


def csrf(browser, to_login):
    page = browser.get(to_login["Location"])
    return {"csrfmiddlewaretoken": page.context["csrf_token"], "next": next_of(to_login)}


def test_scopes_are_granted_as_asked_and_openid_if_none_is(signed_in, application):
    asked = exchange(application, answer_of(signed_in.get(url(application, scope="email openid")))["code"])
    none = exchange(application, answer_of(signed_in.get(url(application, scope="")))["code"])

    assert (asked["scope"], none["scope"]) == ("email openid", "openid")


def test_hints_and_unknown_parameters_are_no_errors(signed_in, application):
    response = signed_in.get(
        url(
            application,
            login_hint="x" * 300,
            ui_locales="xx de",
            display="popup",
            acr_values="urn:loa",
            id_token_hint="not.a.token",
            resource="https://a",
            unknown="?",
        )
    )

    assert "code" in answer_of(response)


def test_unknown_parameters_may_even_be_repeated(signed_in, application):
    assert "code" in answer_of(signed_in.get(url(application) + "&resource=a&resource=b"))


def test_head_changes_nothing(signed_in, application):
    response = signed_in.head(url(application))

    assert response.status_code == 200
    assert "Location" not in response
    assert_headers(response)
    assert RefreshToken.objects.count() == 0


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options"])
def test_other_methods_are_refused(signed_in, application, method):
    response = getattr(signed_in, method)(url(application))

    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD, POST"
    assert_headers(response)


# Errors on a page


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": ""},
        {"client_id": "nobody"},
        {"client_id": "x" * 500},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": CALLBACK + "/"},
        {"redirect_uri": CALLBACK + "?x=y"},
        {"redirect_uri": CALLBACK + "#x"},
        {"redirect_uri": CALLBACK.upper()},
        {"redirect_uri": CALLBACK.replace("https", "http")},
        {"redirect_uri": "https://user@app.example.com/callback"},
        {"redirect_uri": CALLBACK.replace("app.example.com", "app.example.com:443")},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "//evil.example"},
    ],
)
@pytest.mark.parametrize("is_signed_in", [True, False])
def test_nobody_is_sent_anywhere_while_client_and_redirect_uri_are_not_both_right(
    browser, user, application, changes, is_signed_in
):
    if is_signed_in:
        browser.force_login(user)

    text = assert_page(browser.get(url(application, **changes)))

    assert "evil" not in text
    assert STATE not in text


def test_the_redirect_uri_of_another_client_is_refused(signed_in, application):
    other = ClientFactory(redirect_uris="https://other.example.com/callback")

    assert_page(signed_in.get(url(application, redirect_uri=other.redirect_uris)))


def test_a_client_without_redirect_uris_signs_nobody_in(signed_in):
    assert_page(signed_in.get(url(ClientFactory())))


def test_a_disabled_client_is_not_known(signed_in, application):
    application.is_active = False
    application.save()

    assert_page(signed_in.get(url(application)))


def test_a_client_id_in_another_case_is_another(signed_in, application):
    assert_page(signed_in.get(url(application, client_id=application.client_id.upper())))


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
@pytest.mark.parametrize("second", [None, "", "https://evil.example"])
def test_a_client_or_redirect_uri_that_is_repeated_is_a_page(signed_in, application, name, second):
    value = parameters(application)[name] if second is None else second

    for query in (
        f"{url(application)}&{name}={value}",
        f"{AUTHORIZE}?{name}={value}&{urlencode(parameters(application))}",
    ):
        assert_page(signed_in.get(query))


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("state", "%00", 400),
        ("nonce", "a%00b", 400),
        ("login_hint", "%00", 400),
        ("client_id", "%00", 400),
        ("state", "%ff", 400),
        ("redirect_uri", "%c3%28", 400),
        ("state", "%ed%a0%80", 400),
        ("state", "x" * 60_000, 414),
        ("client_id", "x" * 60_000, 414),
        ("x" * 60_000, "", 414),
    ],
)
@pytest.mark.parametrize("is_signed_in", [True, False])
def test_what_no_application_sends_is_a_page(browser, user, application, name, value, status, is_signed_in):
    if is_signed_in:
        browser.force_login(user)
    query = f"{urlencode(parameters(application, **{name: None}))}&{name}={value}"

    assert_page(browser.get(f"{AUTHORIZE}?{query}"), status)
    assert_page(post(browser, query), 413 if status == 414 else status)


def test_raw_bytes_in_a_query_are_read_as_utf_8(signed_in, application):
    def get(raw):
        query = url(application, state=None).split("?")[1] + "&state=" + raw.decode("latin-1")
        return signed_in.generic("GET", AUTHORIZE, QUERY_STRING=query)

    assert answer_of(get("ä".encode()))["state"] == "ä"
    assert_page(get(b"\xff"))


def test_a_query_that_a_server_has_decoded_is_read_as_utf_8(signed_in, application):
    query = url(application, state=None).split("?")[1] + "&state=€"

    assert answer_of(signed_in.generic("GET", AUTHORIZE, QUERY_STRING=query))["state"] == "€"


def test_more_than_a_hundred_parameters_are_a_page(signed_in, application):
    assert_page(signed_in.get(url(application) + "&a=1" * 100))


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain"]
)
def test_a_body_that_is_not_a_form_is_a_page(signed_in, content_type):
    response = signed_in.post(AUTHORIZE, b"{}", content_type=content_type)

    assert_page(response, 415)


def test_an_empty_form_is_a_page(signed_in, application):
    assert_page(signed_in.generic("POST", url(application)))


def test_a_form_that_is_cut_off_is_a_page(signed_in, application):
    body = urlencode(parameters(application)).encode()
    broken = {"CONTENT_LENGTH": len(body) + 10, "wsgi.input": BytesIO(body)}

    assert_page(post(signed_in, body, **broken))


@pytest.mark.parametrize("client_id", ["nobody", None])
def test_the_error_page_is_seen_before_anybody_is_asked_for_a_password(browser, application, client_id):
    assert "Location" not in browser.get(url(application, client_id=client_id))


# Errors that the application gets


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"scope": "openid admin"}, "invalid_scope"),
        ({"scope": "openid  email"}, "invalid_scope"),
        ({"scope": "öpenid"}, "invalid_scope"),
        ({"code_challenge": "x" * 42}, "invalid_request"),
        ({"code_challenge": "x" * 42 + "="}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"max_age": "\u0661"}, "invalid_request"),
        ({"max_age": "1" * 40}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"nonce": "n" * 2001}, "invalid_request"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"request_uri": "https://app.example.com/request"}, "request_uri_not_supported"),
        ({"registration": "{}"}, "registration_not_supported"),
    ],
)
@pytest.mark.parametrize("is_signed_in", [True, False])
def test_the_application_gets_its_errors_before_anybody_signs_in(
    browser, user, application, changes, error, is_signed_in
):
    if is_signed_in:
        browser.force_login(user)

    answer = assert_sent_back(browser.get(url(application, **changes)), error)

    assert answer["state"] == STATE
    assert NONCE not in str(answer)
    assert RefreshToken.objects.count() == 0


@pytest.mark.parametrize(
    "name",
    [
        *("response_type", "response_mode", "scope", "code_challenge", "code_challenge_method"),
        *("prompt", "max_age", "request", "request_uri", "registration"),
    ],
)
def test_what_was_wrong_is_not_echoed(signed_in, application, name):
    response = signed_in.get(url(application, **{name: "Echo9431"}))

    assert "error" in answer_of(response)
    assert "Echo9431" not in response["Location"]


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_page_does_not_echo_either(signed_in, application, name):
    assert "Echo9431" not in assert_page(signed_in.get(url(application, **{name: "https://Echo9431/"})), 400)


def test_without_openid_among_its_scopes_a_client_must_ask_for_something(signed_in):
    application = ClientFactory(redirect_uris=CALLBACK, scope="email")

    assert_sent_back(signed_in.get(url(application, scope=None)), "invalid_scope")


@pytest.mark.parametrize(
    "name",
    ["response_type", "scope", "nonce", "prompt", "max_age", "code_challenge", "response_mode", "login_hint"],
)
@pytest.mark.parametrize("is_empty", [True, False])
def test_a_parameter_that_is_repeated_is_refused(signed_in, application, name, is_empty):
    value = "" if is_empty else parameters(application).get(name, "1")
    twice = url(application, **{name: value}) + f"&{name}={value}"

    answer = assert_sent_back(signed_in.get(twice), "invalid_request")

    assert answer["state"] == STATE


def test_a_state_that_is_repeated_does_not_come_back(signed_in, application):
    answer = assert_sent_back(signed_in.get(url(application) + "&state=other"), "invalid_request")

    assert "state" not in answer


@pytest.mark.parametrize("fields", [{"application_type": "spa"}, {"requires_pkce": True}])
def test_pkce_can_not_be_left_out_where_it_is_required(signed_in, fields):
    application = ClientFactory(redirect_uris=CALLBACK, **fields)
    without = {"code_challenge": None, "code_challenge_method": None}

    assert_sent_back(signed_in.get(url(application, **without)), "invalid_request")
    assert "code" in answer_of(signed_in.get(url(application)))


def test_a_code_of_a_request_with_pkce_needs_the_verifier(signed_in, application):
    code = answer_of(signed_in.get(url(application)))["code"]

    with pytest.raises(AssertionError, match="invalid_grant"):
        exchange(application, code, code_verifier=None)
    assert exchange(application, code, code_verifier=VERIFIER)


def test_a_machine_signs_nobody_in(signed_in, machine):
    machine.redirect_uris = CALLBACK  # No form lets this be saved.
    machine.save()

    assert_sent_back(signed_in.get(url(machine)), "unauthorized_client")


def test_a_request_uri_is_not_fetched(signed_in, application, monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert_sent_back(
        signed_in.get(url(application, request_uri="https://internal.example/")), "request_uri_not_supported"
    )


def test_the_policy_of_the_site_is_asked(signed_in, application, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ISSUANCE_POLICY": lambda **_: False}

    assert_sent_back(signed_in.get(url(application)), "access_denied")
    assert RefreshToken.objects.count() == 0


def test_a_user_who_is_disabled_gets_no_code(signed_in, application, user, settings):
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    signed_in.force_login(user)
    get_user_model().objects.update(is_active=False)

    assert_sent_back(signed_in.get(url(application)), "access_denied")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("deleted", ["user", "client"])
def test_a_user_or_client_who_is_deleted_meanwhile_gets_no_code(
    deleted, signed_in, application, user, monkeypatch
):
    make = authorization_codes.new_code_session

    def delete_before(**kwargs):
        # Another process; this one has the rows in memory.
        (type(user).objects if deleted == "user" else Client.objects).all().delete()
        return make(**kwargs)

    monkeypatch.setattr(authorization_codes, "new_code_session", delete_before)

    assert_sent_back(signed_in.get(url(application)), "access_denied")
    assert not RefreshToken.objects.exists()


def test_with_djangos_own_backend_a_disabled_user_is_asked_to_sign_in(signed_in, application):
    get_user_model().objects.update(is_active=False)

    assert next_of(signed_in.get(url(application))).startswith(AUTHORIZE)


# When the service fails


def test_a_database_that_is_unavailable_is_a_page_with_503(signed_in, application, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(authorization_request, "read_rows", fail)

    response = signed_in.get(url(application))

    assert_page(response, 503)
    assert response["Retry-After"] == "1"


def test_a_database_that_refuses_the_code_is_told_to_the_application(signed_in, application, monkeypatch):
    from django_ciam_token.views import authorize
    from tests.operators import refuse

    monkeypatch.setattr(authorize, "issue_code", refuse)

    assert_sent_back(signed_in.get(url(application)), "temporarily_unavailable")


def test_an_internal_error_is_a_page_that_says_nothing_and_is_reported(
    signed_in, application, monkeypatch, traces
):
    def fail(**kwargs):
        raise RuntimeError("it broke")

    monkeypatch.setattr("django_ciam_token.views.authorize.issue_code", fail)
    signed_in.raise_request_exception = False

    text = assert_page(signed_in.get(url(application)), 500)

    assert "it broke" not in text
    assert "it broke" in "\n".join(traces.logged)


@pytest.mark.parametrize("changes", [{}, {"scope": "admin"}, {"client_id": "nobody"}, {"prompt": "login"}])
def test_neither_state_nor_nonce_nor_challenge_is_logged(signed_in, application, traces, changes):
    form = parameters(application, **changes)

    signed_in.get(url(application, **changes))
    post(signed_in, form)

    everything = "\n".join(traces.logged)
    assert "/oauth2/authorize" in everything or not changes or "prompt" in changes
    for name in ("state", "nonce", "code_challenge"):
        assert form[name] not in everything


def looks_at_parameters(get_response):
    """A site's own middleware, before the view: Django keeps what it has parsed with the request."""

    def middleware(request):
        assert request.GET or request.POST
        return get_response(request)

    return middleware


@pytest.mark.parametrize("middleware", [[], [f"{__name__}.looks_at_parameters"]])
def test_what_a_request_was_sent_with_is_not_in_an_error_report(
    signed_in, application, monkeypatch, settings, middleware
):
    from django.core.signals import got_request_exception
    from django.views.debug import ExceptionReporter

    reports = []

    def report(sender, request, **kwargs):
        import sys

        reports.append(ExceptionReporter(request, *sys.exc_info()).get_traceback_text())

    def fail(**kwargs):
        raise RuntimeError("it broke")

    settings.MIDDLEWARE = [*settings.MIDDLEWARE, *middleware]
    monkeypatch.setattr("django_ciam_token.views.authorize.issue_code", fail)
    signed_in.raise_request_exception = False
    got_request_exception.connect(report)
    try:
        # As gunicorn and uWSGI say it.
        signed_in.get(url(application), RAW_URI=url(application), REQUEST_URI=url(application))
        post(signed_in, parameters(application))
    finally:
        got_request_exception.disconnect(report)

    assert len(reports) == 2
    assert not any(secret in text for text in reports for secret in (STATE, NONCE))


# As part of a site


def test_a_site_without_the_grant_has_no_endpoint(signed_in, application, settings):
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "GRANTS": {"refresh_token": "django_ciam_token.grants.refresh_token.refresh"},
    }

    assert signed_in.get(url(application)).status_code == 404
    assert signed_in.get("/oauth2/logout").status_code == 404


def test_a_session_cookie_that_an_attacker_planted_is_not_the_one_that_is_signed_in(application, user):
    attacker, victim = Browser(), Browser()
    to_login = attacker.get(url(application, state="x" * 1900))  # Long, so that something is kept.
    attacker.session.save()
    planted = attacker.session.session_key or "planted" * 5
    victim.cookies["sessionid"] = planted
    victim.post(
        to_login["Location"],
        {"username": user.get_username(), "password": PASSWORD, "next": next_of(to_login)},
    )
    attacker.cookies["sessionid"] = planted

    assert "code" in answer_of(victim.get(url(application)))
    assert next_of(attacker.get(url(application)))


@pytest.mark.parametrize("path_", [AUTHORIZE, "/oauth2/logout"])
def test_a_session_cookie_with_a_nul_is_none_and_is_taken_away(browser, application, path_, monkeypatch):
    def refuse_nul(store):
        """What psycopg does."""
        if "\x00" in store.session_key:
            raise ValueError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return read(store)

    read = SessionStore._get_session_from_db
    monkeypatch.setattr(SessionStore, "_get_session_from_db", refuse_nul)
    # Within quotes a cookie may have any character.
    planted = 'sessionid="\\000' + "a" * 32 + '"'

    response = browser.get(f"{path_}?{urlencode(parameters(application))}", headers={"cookie": planted})

    assert response.status_code == (302 if path_ == AUTHORIZE else 200)
    assert response.cookies["sessionid"]["max-age"] == 0


def test_the_key_of_a_kept_request_is_no_session_that_signs_anybody_in(application, user):
    attacker, victim = Browser(), Browser()
    address = next_of(attacker.get(url(application, state="x" * 1900)))
    [key] = parse_qs(urlsplit(address).query)["ciam_request"]
    victim.cookies["sessionid"] = key
    victim.force_login(user)

    attacker.cookies["sessionid"] = key

    assert next_of(attacker.get(url(application)))


@pytest.mark.parametrize("key", ["a" * 32, "../../etc/passwd", "A", ""])
def test_a_kept_request_that_is_gone_is_a_page(signed_in, key):
    assert_page(signed_in.get(f"{AUTHORIZE}?ciam_request={key}"))


def test_a_long_request_is_kept_for_an_hour(browser, application, user):
    address = next_of(browser.get(url(application, state="x" * 1900)))
    browser.force_login(user)

    with time_machine.travel(timezone.now() + timedelta(minutes=59)):
        assert "code" in answer_of(browser.get(address))
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        assert_page(browser.get(address))


@pytest.mark.parametrize("key", ["a+b", "..%2F..%2Fetc%2Fpasswd", "x" * 300, "%C3%A4" * 20])
def test_the_store_of_sessions_is_not_asked_for_what_can_be_no_key(signed_in, monkeypatch, key):
    def fail(key):
        raise AssertionError(key)

    monkeypatch.setattr(continuation, "_store", fail)

    assert_page(signed_in.get(f"{AUTHORIZE}?ciam_request={key}"))


def test_the_key_of_a_users_session_is_no_kept_request(signed_in):
    key = signed_in.session.session_key

    assert_page(signed_in.get(f"{AUTHORIZE}?ciam_request={key}"))


def test_with_sessions_in_cookies_a_long_request_stays_in_the_address(browser, application, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"

    address = next_of(browser.get(url(application, state="x" * 1900)))

    assert "x" * 1900 in address


def test_nobody_fills_the_table_of_sessions_with_long_requests(browser, application, monkeypatch):
    """Over the limit a request stays in the address, where the login page may or may not follow it."""
    long = url(application, state="x" * 1900)
    for number in range(60):
        answer = browser.get(long, REMOTE_ADDR=f"2001:db8:0:1::{number}")
    assert Session.objects.count() == 50
    assert "x" * 1900 in next_of(answer)

    browser.get(long, REMOTE_ADDR="2001:db8:0:2::1")
    assert Session.objects.count() == 51
    monkeypatch.setattr(continuation, "_in_all", Allowance(at_once=1, every=60.0))
    for number in range(3):
        browser.get(long, REMOTE_ADDR=f"192.0.2.{number}")
    assert Session.objects.count() == 52


def test_the_login_page_gets_the_hints(browser, application):
    response = browser.get(url(application, login_hint="a@b.example", ui_locales="de", acr_values="2"))

    query = parse_qs(urlsplit(response["Location"]).query)
    assert query["login_hint"] == ["a@b.example"]
    assert query["ui_locales"] == ["de"]
    assert query["acr_values"] == ["2"]


def test_a_form_becomes_a_get_for_the_login_page(browser, application, user):
    response = post(browser, parameters(application))

    assert response.status_code == 303
    assert next_of(response) == url(application)
    browser.force_login(user)
    assert "code" in answer_of(browser.get(next_of(response)))


def test_the_absolute_address_of_this_site_is_no_other_host(browser, application, settings):
    settings.LOGIN_URL = "http://testserver/accounts/login/"

    assert "?next=%2Foauth2%2F" in browser.get(url(application))["Location"]


def test_a_form_that_another_site_sent_without_cookies_is_repeated_as_a_get(signed_in, application):
    # The cookies are Lax: a browser keeps them back, and the user would seem not to be signed in.
    form = parameters(application, prompt="none")
    response = post(signed_in, {**form, "decision": "allow"}, HTTP_SEC_FETCH_SITE="cross-site")

    assert response.status_code == 303
    assert response["Location"] == url(application, prompt="none")


@pytest.mark.parametrize(
    ("changes", "kept", "status"),
    [
        ({"state": "s" * 4_000}, 0, 303),
        ({"state": "s" * 9_000}, 1, 303),
        ({"state": "s" * 9_000, "client_id": "nobody"}, 0, 400),
        ({"state": "s" * 9_000, "redirect_uri": "https://evil.example/"}, 0, 400),
    ],
)
def test_other_sites_can_have_nothing_kept_but_long_requests_of_an_application(
    browser, application, changes, kept, status
):
    form = parameters(application) | changes

    response = post(browser, form, HTTP_SEC_FETCH_SITE="cross-site")

    assert response.status_code == status
    assert Session.objects.count() == kept


@pytest.mark.parametrize("login_url", ["/sso?x=1", "https://sso.example.com/login", "admin:login"])
def test_the_login_page_may_be_anywhere(browser, application, settings, login_url):
    settings.LOGIN_URL = login_url

    location = browser.get(url(application))["Location"]

    start = {"/sso?x=1": "/sso?x=1&next=", "admin:login": "/admin/login/?next="}
    assert location.startswith(start.get(login_url, f"{login_url}?next=http%3A%2F%2Ftestserver%2Foauth2%2F"))


def test_atomic_requests_do_not_undo_what_was_written(application, user, settings, monkeypatch):
    from django.db import connections

    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    from django_ciam_token.views.authorize import AuthorizationView

    assert "default" in AuthorizationView.as_view()._non_atomic_requests


def test_a_site_that_requires_a_login_everywhere_shows_its_errors_without(browser, application, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]

    assert_page(browser.get(url(application, client_id="nobody")))


def test_another_user_model_row_is_never_mixed_up(signed_in, application, user):
    UserFactory()

    tokens = exchange(application, answer_of(signed_in.get(url(application)))["code"])

    assert claims_of(tokens["access_token"])["sub"] == str(user.pk)
