"""An application that people sign in to, and what its authorization requests look like."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from django.http import HttpResponse
from django.test import Client as Browser
from django.utils import translation

from django_ciam_token.models import Client
from tests.conftest import post_form
from tests.factories import ClientFactory

AUTHORIZE = "/oauth2/authorize"
CALLBACK = "https://app.example.com/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
STATE = "state-that-nobody-may-see"
NONCE = "nonce-that-nobody-may-see"
PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def _language() -> Iterator[None]:
    """Django's LocaleMiddleware leaves the language of a request to the next one of the thread."""
    yield
    translation.deactivate()


@pytest.fixture
def application(db: None) -> Client:
    return ClientFactory(
        redirect_uris=CALLBACK,
        post_logout_redirect_uris="https://app.example.com/bye",
    )


def parameters(client: Client, **changes: Any) -> dict[str, str]:
    """The parameters of a good request, with changes; None leaves one out."""
    form = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": CALLBACK,
        "scope": "openid",
        "state": STATE,
        "nonce": NONCE,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return {name: value for name, value in form.items() if value is not None}


def url(client: Client, **changes: Any) -> str:
    return f"{AUTHORIZE}?{urlencode(parameters(client, **changes))}"


@pytest.fixture
def browser(db: None) -> Browser:
    """A browser in which nobody is signed in; it is as strict about forms as a real site."""
    return Browser(enforce_csrf_checks=True)


@pytest.fixture
def signed_in(browser: Browser, user: Any) -> Browser:
    browser.force_login(user)
    return browser


def answer_of(response: HttpResponse) -> dict[str, str]:
    """The parameters with which a response goes back to the application, each exactly once."""
    assert response.status_code in (302, 303), response.content
    location = urlsplit(response["Location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == CALLBACK
    assert location.fragment == ""
    pairs = parse_qsl(location.query, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def assert_sent_back(response: HttpResponse, error: str) -> dict[str, str]:
    answer = answer_of(response)
    assert answer["error"] == error
    assert "code" not in answer
    assert answer["iss"] == "https://id.example.com"
    assert re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]*", answer.get("error_description", ""))
    assert_headers(response)
    return answer


def assert_page(response: HttpResponse, status: int = 400) -> str:
    """Assert that it is a page of this site, that leads nowhere."""
    assert response.status_code == status, response.content
    assert "Location" not in response
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert_headers(response)
    text = response.content.decode()
    assert "<form" not in text
    assert "<a " not in text
    return text


def assert_headers(response: HttpResponse) -> None:
    assert "no-store" in response["Cache-Control"]
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in response


def next_of(response: HttpResponse) -> str:
    """Where the login page is told to go on."""
    assert response.status_code in (302, 303), response.content
    location = urlsplit(response["Location"])
    assert location.path == "/accounts/login/"
    assert location.netloc == ""
    [address] = parse_qs(location.query)["next"]
    return address


def form_of(response: HttpResponse) -> tuple[str, dict[str, str]]:
    """The action and the hidden fields of the one form of a page."""
    text = response.content.decode()
    [action] = re.findall(r'<form[^>]* action="([^"]*)"', text)
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', text)
    return unescape(action), {name: unescape(value) for name, value in fields}


def press(browser: Browser, page: HttpResponse, decision: str, **changes: Any) -> HttpResponse:
    """Press a button of a page; changes replace its hidden fields, None takes one away."""
    action, fields = form_of(page)
    form = {**fields, "decision": decision, **changes}
    body = urlencode({name: value for name, value in form.items() if value is not None})
    return browser.post(action, body, content_type="application/x-www-form-urlencoded")


def exchange(client: Client, code: str, **changes: Any) -> dict[str, Any]:
    form = {
        "grant_type": "authorization_code",
        "client_id": client.client_id,
        "client_secret": client.plain_secret,
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        **changes,
    }
    response = post_form({name: value for name, value in form.items() if value is not None})
    assert response.status_code == 200, response.content
    return response.json()


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
