"""The code of the how-to guides, put into a site and used."""

from __future__ import annotations

import logging
import logging.config
import re
from pathlib import Path
from types import ModuleType

import pytest
from django.contrib.auth import get_user_model
from django.core import signing
from django.test import RequestFactory
from django.urls import path
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.views import APIView

from django_ciam_token.api import create_client, issue_tokens
from django_ciam_token.models import RefreshToken
from django_ciam_token.testing import post_form

GUIDES = Path(__file__).resolve().parent.parent.parent / "docs" / "how-to"
PASSWORD = "correct horse battery staple"

pytestmark = pytest.mark.django_db


def code(guide, name, **known):
    """Run the block of a guide that has this name, and return what it defines."""
    text = (GUIDES / f"{guide}.md").read_text()
    [block] = re.findall(rf"<!-- code: {name} -->\n```python[^\n]*\n(.*?)```", text, re.DOTALL)
    module = ModuleType(name)
    vars(module).update(known)
    exec(compile(block, f"{guide}.md", "exec"), vars(module))  # noqa: S102 - it is ours
    return module


@pytest.fixture
def alice():
    return get_user_model().objects.create_user("alice", password=PASSWORD)


@pytest.fixture
def portal():
    return create_client(name="Portal", application_type="spa", client_id="portal", scope="openid")[0]


@pytest.fixture
def log_in(settings, monkeypatch, alice, portal):
    """Send a form to the login view of the guide, on a site that lets nobody in by default."""
    from rest_framework.permissions import IsAuthenticated

    monkeypatch.setattr(APIView, "permission_classes", [IsAuthenticated])
    view = code("own-login-view", "own login view").LoginView

    def log_in(client=None, **form):
        browser = client or APIClient(enforce_csrf_checks=True)
        settings.ROOT_URLCONF = ModuleType("urls")
        settings.ROOT_URLCONF.urlpatterns = [path("login", view.as_view())]
        return browser.post("/login", form)

    return log_in


def test_the_login_view_signs_in_on_a_site_that_requires_authentication_by_default(log_in):
    answer = log_in(username="alice", password=PASSWORD)

    assert answer.status_code == 200
    assert answer.json()["refresh_token"].startswith("ciam_rt1_")
    assert answer["Cache-Control"] == "private, no-store"


def test_the_login_view_asks_for_no_csrf_token_when_there_is_a_session_cookie(log_in, alice):
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(alice)

    assert log_in(browser, username="alice", password=PASSWORD).status_code == 200


def test_the_login_view_answers_a_missing_field_and_a_wrong_password_cleanly(log_in):
    assert log_in(username="alice").status_code == 400
    assert log_in(username="alice", password="wrong").status_code == 403


def test_the_login_view_answers_what_the_service_refuses(log_in, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ISSUANCE_POLICY": lambda **_: False}

    answer = log_in(username="alice", password=PASSWORD)

    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})


def test_a_user_sees_their_devices_and_signs_out_all_but_this_one(alice, portal):
    view = code("sign-out", "my devices").MyDevicesView.as_view()
    here, _ = issue_tokens(client=portal, user=alice), issue_tokens(client=portal, user=alice)
    factory = APIRequestFactory()
    header = {"HTTP_AUTHORIZATION": f"Bearer {here['access_token']}"}

    listed = view(factory.get("/", **header)).data
    assert sorted(device["this_device"] for device in listed) == [False, True]

    assert view(factory.delete("/", **header)).status_code == 204
    [left] = RefreshToken.objects.filter(revoked_at=None)
    assert [device["id"] for device in listed if device["this_device"]] == [left.pk]


@pytest.mark.parametrize(
    ("header", "address"),
    [({}, "127.0.0.1"), ({"HTTP_X_FORWARDED_FOR": "198.51.100.1, 203.0.113.7"}, "203.0.113.7")],
)
def test_the_address_is_the_one_that_the_proxy_saw(header, address):
    client_address = code("behind-a-proxy", "client address").client_address

    assert client_address(RequestFactory().get("/", **header)) == address


def test_a_throttle_of_the_sites_own_answers_429(settings):
    urls = code("throttling", "own throttle")
    urls.PerAddress.rate = "1/min"
    settings.ROOT_URLCONF = urls
    browser = APIClient()

    first, second = (post_form(browser, "/oauth2/token", {"grant_type": "nothing"}) for _ in range(2))

    assert (first.status_code, second.status_code) == (400, 429)


def test_a_grant_of_the_sites_own_exchanges_a_link(settings, alice, portal):
    grant = code("extending", "own grant").link_from_mail
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "GRANTS": {"urn:example:link-from-mail": grant}}
    form = {"grant_type": "urn:example:link-from-mail", "client_id": "portal"}
    link = signing.dumps(alice.pk, salt="sign-in-by-mail")

    good = post_form(APIClient(), "/oauth2/token", {**form, "assertion": link})
    bad = post_form(APIClient(), "/oauth2/token", {**form, "assertion": f"{link}x"})

    assert good.status_code == 200
    assert (bad.status_code, bad.json()) == (400, {"error": "invalid_grant"})


def test_the_log_shows_the_reason_and_the_fields(capsys, alice, portal):
    settings = code("logging", "logging").LOGGING
    code("logging", "formatter", LOGGING=settings)
    logger = logging.getLogger("django_ciam_token")
    before = logger.handlers[:], logger.level
    logging.config.dictConfig(settings)
    try:
        post_form(
            APIClient(),
            "/oauth2/token",
            {"grant_type": "refresh_token", "client_id": "portal", "refresh_token": "x"},
        )
    finally:
        logger.handlers[:], level = before
        logger.setLevel(level)

    shown = capsys.readouterr().err
    assert "INFO /oauth2/token refused: not_genuine event=request_refused" in shown
