"""The pages for signing in and out, in a real browser: what headers, cookies and policies really do there."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from django_ciam_token.models import Consent
from tests.browser.conftest import PASSWORD, PHONE
from tests.factories import ClientFactory, UserFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def user():
    return UserFactory(password=PASSWORD)


@pytest.fixture
def callback(live_server):
    """An address of the application, on another origin."""
    return f"http://127.0.0.1:{urlsplit(live_server.url).port}/static/django_ciam_token/pages.css"


@pytest.fixture
def application(callback):
    return ClientFactory(
        name="Wetter & Freunde",
        redirect_uris=callback,
        post_logout_redirect_uris=callback,
        asks_consent=True,
        application_type="web",
    )


@pytest.fixture
def authorize(application, callback):
    def authorize(**changes):
        form = {
            "response_type": "code",
            "client_id": application.client_id,
            "redirect_uri": callback,
            "scope": "openid email",
            "state": "the-state",
            **changes,
        }
        return f"/oauth2/authorize?{urlencode(form)}"

    return authorize


def sign_in(page, user):
    page.fill("#id_username", user.get_username())
    page.fill("#id_password", PASSWORD)
    page.click("[type=submit]")


def answer_of(page):
    return {name: value for name, [value] in parse_qs(urlsplit(page.url).query).items()}


@pytest.mark.parametrize("size", [None, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_signing_in_allowing_and_signing_out(page, user, application, authorize, callback, size, scheme):
    page.emulate_media(color_scheme=scheme)
    if size:
        page.set_viewport_size(size)
    requests = []
    page.on("request", lambda request: requests.append(request))
    page.goto(authorize())
    sign_in(page, user)

    assert page.get_by_role("heading").inner_text() == "Wetter & Freunde asks for access"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Allow", exact=True).click()

    # Django's CSRF check was content with the Origin, and nothing stopped the redirect to another origin.
    page.wait_for_url(f"{callback}?**")
    assert set(answer_of(page)) == {"code", "state", "iss"}
    [arrived] = [request for request in requests if request.url.startswith(callback)]
    assert "referer" not in arrived.headers
    assert Consent.objects.get().user == user

    page.goto(f"/oauth2/logout?{urlencode({'client_id': application.client_id})}")
    page.get_by_role("button", name="Stay signed in").click()
    assert page.get_by_role("heading").inner_text() == "You are still signed in"
    page.goto("/oauth2/logout")
    page.get_by_role("button", name="Sign out").click()
    assert page.get_by_role("heading").inner_text() == "You are signed out"


def test_the_form_sends_itself_under_its_policy(page, user, application, authorize, callback):
    application.asks_consent = False
    application.save()
    posted = []
    page.on("request", lambda request: posted.append(request) if request.method == "POST" else None)
    page.route(callback, lambda route: route.fulfill(status=200, body="thank you"))
    page.goto(authorize(response_mode="form_post"))

    sign_in(page, user)

    page.wait_for_url(callback)
    answer = parse_qs(posted[-1].post_data)
    assert set(answer) == {"code", "state", "iss"}
    assert "referer" not in posted[-1].headers


def test_a_hidden_frame_renews_silently_and_shows_no_page(
    chromium, live_server, user, application, authorize, callback
):
    # In a window of its own: the refusal to show a page is an error in the console.
    page = chromium.new_context(base_url=live_server.url, locale="en-GB").new_page()
    page.goto(authorize())
    sign_in(page, user)
    page.get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url(f"{callback}?**")

    page.goto("/accounts/login/")
    page.evaluate(
        """([silent, asking]) => [silent, asking].map((address) => {
            const frame = document.createElement("iframe");
            frame.src = address;
            document.body.append(frame);
        })""",
        [authorize(prompt="none"), "/oauth2/logout"],
    )
    page.wait_for_timeout(1500)

    _, silent, asking = page.frames
    assert "code=" in silent.url
    # X-Frame-Options: the page that asks is not shown.
    assert "sign out" not in asking.content()
    page.context.close()
