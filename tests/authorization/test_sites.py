"""Signing in within all kinds of sites: where the URLs are, what the site has and lacks, and the pages."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.views import LoginView
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.test import AsyncClient, AsyncRequestFactory, override_settings
from django.test import Client as Browser
from django.urls import include, path

from django_ciam_token.views.authorize import AuthorizationView
from tests.authorization.conftest import (
    AUTHORIZE,
    CALLBACK,
    answer_of,
    assert_page,
    exchange,
    form_of,
    next_of,
    parameters,
    press,
    url,
)
from tests.conftest import post_form
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db

LOGIN = path("accounts/login/", LoginView.as_view(template_name="admin/login.html"))
ADMIN = path("admin/", include("tests.admin_urls"))


class Localised:
    urlpatterns = [LOGIN, *i18n_patterns(path("", include("django_ciam_token.urls")))]


class Prefixed:
    urlpatterns = [LOGIN, path("auth/", include("django_ciam_token.urls"))]


class Umlaut:
    urlpatterns = [LOGIN, path("über/", include("django_ciam_token.urls"))]


class Empty:
    urlpatterns = [LOGIN]


def by_host(get_response):
    """A site's own middleware: one host has the URLs, the others don't."""

    def middleware(request):
        request.urlconf = Prefixed if request.get_host() == "id.example.com" else Empty
        return get_response(request)

    return middleware


def test_under_a_prefix(browser, application, user):
    with override_settings(ROOT_URLCONF=Prefixed):
        address = next_of(browser.get("/auth" + url(application)))
        assert address == "/auth" + url(application)
        browser.force_login(user)
        assert "code" in answer_of(browser.get(address))


def test_under_a_prefix_that_is_not_ascii(browser, application, user):
    with override_settings(ROOT_URLCONF=Umlaut):
        address = next_of(browser.get("/%C3%BCber" + url(application, prompt="login consent")))
        assert address.startswith("/%C3%BCber/oauth2/authorize?")
        browser.force_login(user)
        page = browser.get(address)
        assert form_of(page)[0] == "/%C3%BCber/oauth2/authorize"
        assert "code" in answer_of(press(browser, page, "allow"))


def test_within_i18n_patterns(browser, application, user, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    with override_settings(ROOT_URLCONF=Localised):
        address = next_of(browser.get("/de" + url(application, prompt="login")))
        assert address.startswith("/de/oauth2/authorize?")
        browser.force_login(user)
        assert "code" in answer_of(browser.get(address))


def test_with_urls_of_their_own_for_each_host(browser, application, user, settings):
    settings.MIDDLEWARE = ["tests.authorization.test_sites.by_host", *settings.MIDDLEWARE]

    response = browser.get("/auth" + url(application), HTTP_HOST="id.example.com")

    assert next_of(response) == "/auth" + url(application)
    assert browser.get("/auth" + url(application), HTTP_HOST="other.example.com").status_code == 404


def test_under_the_script_name_of_a_server(browser, application, user):
    script = {"SCRIPT_NAME": "/site"}

    response = browser.get(url(application, prompt="login"), **script)

    [address] = parse_qs(urlsplit(response["Location"]).query)["next"]
    assert address == "/site" + url(application, prompt="login")
    assert [cookie["path"] for name, cookie in browser.cookies.items() if name.startswith("ciam")] == [
        "/site" + AUTHORIZE
    ]


@pytest.mark.parametrize("engine", ["cache", "cached_db", "file"])
def test_with_any_kind_of_session(application, user, settings, engine, tmp_path):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    browser = Browser()

    address = next_of(browser.get(url(application, state="x" * 2500, prompt="login")))
    assert len(address) < 200
    browser.force_login(user)

    assert answer_of(browser.get(address))["state"] == "x" * 2500


def test_with_sessions_that_are_cookies(application, user, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    browser = Browser()
    browser.force_login(user)

    assert "code" in answer_of(browser.get(url(application)))


@pytest.mark.parametrize("missing", ["Session", "Authentication"])
def test_a_site_without_sessions_serves_tokens_and_says_what_is_missing(
    application, settings, missing, web_client, first_tokens, refresh, traces
):
    settings.MIDDLEWARE = [
        name
        for name in settings.MIDDLEWARE
        if not re.search("Session|Auth|Message" if missing == "Session" else "Auth|Message", name)
    ]

    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200
    with pytest.raises(ImproperlyConfigured, match="AuthenticationMiddleware"):
        Browser().get(url(application))
    assert post_form({}, url=AUTHORIZE).status_code == 500


# The pages


class _Outline(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def outline(response):
    parser = _Outline()
    parser.feed(response.content.decode())
    return parser.tags


@pytest.fixture
def pages(signed_in, application):
    """Every page, as somebody sees it."""
    return {
        "consent": signed_in.get(url(application, prompt="consent")),
        "error": signed_in.get(url(application, client_id="nobody")),
        "form_post": signed_in.get(url(application, response_mode="form_post")),
        "sign_out": signed_in.get("/oauth2/logout"),
        "signed_out": Browser().get("/oauth2/logout"),
    }


@pytest.mark.parametrize("name", ["consent", "error", "form_post", "sign_out", "signed_out"])
def test_a_screen_reader_finds_its_way(pages, name):
    tags = outline(pages[name])

    names = [tag for tag, _ in tags]
    assert ("html", {"lang": "en-us", "dir": "ltr"}) in tags
    assert names.count("main") == names.count("h1") == names.count("title") == 1
    ids = {attributes["id"] for _, attributes in tags if "id" in attributes}
    described = {attributes["aria-labelledby"] for _, attributes in tags if "aria-labelledby" in attributes}
    assert described <= ids


@pytest.mark.parametrize("name", ["consent", "error", "sign_out", "signed_out", "form_post"])
def test_pages_work_under_default_src_self(pages, name):
    tags = outline(pages[name])

    assert not any("style" in attributes for _, attributes in tags)
    assert not any(attribute.startswith("on") for _, attributes in tags for attribute in attributes)
    assert [tag for tag, _ in tags if tag in ("style", "script")] == (
        ["script"] if name == "form_post" else []
    )
    sources = [attributes["href"] for tag, attributes in tags if tag == "link"]
    assert sources == ["/static/django_ciam_token/pages.css"]
    if name != "form_post":
        assert pages[name]["Content-Security-Policy"].startswith("default-src 'self';")


def test_a_form_of_ours_is_sent_with_its_origin_and_the_answer_without_a_referrer(pages):
    told = {
        name: [
            attributes["content"] for tag, attributes in outline(page) if attributes.get("name") == "referrer"
        ]
        for name, page in pages.items()
    }

    # Without it browsers say `Origin: null`, and Django's CSRF check refuses the form.
    assert told.pop("consent") == told.pop("sign_out") == ["same-origin"]
    assert set(map(tuple, told.values())) == {()}


@pytest.mark.parametrize(
    ("language", "lang", "words"),
    [("de", "de", "bittet um Zugriff"), ("zh-CN zh", "zh-hans", "请求访问权限")],
)
def test_pages_are_in_the_language_that_the_application_asks_for(
    signed_in, application, language, lang, words
):
    response = signed_in.get(url(application, prompt="consent", ui_locales=language))

    assert words in response.content.decode()
    assert ("html", {"lang": lang, "dir": "ltr"}) in outline(response)


@pytest.mark.parametrize(
    ("path_", "changes"),
    [
        (AUTHORIZE, {"client_id": "nobody"}),
        (AUTHORIZE, {"redirect_uri": "https://evil.example/"}),
        ("/oauth2/logout", {"post_logout_redirect_uri": "https://evil.example/"}),
    ],
)
def test_the_page_of_an_error_is_in_that_language_too(browser, application, path_, changes):
    query = url(application, ui_locales="de", **changes).split("?")[1]

    response = browser.get(f"{path_}?{query}")

    assert response.status_code == 400
    assert ("html", {"lang": "de", "dir": "ltr"}) in outline(response)
    assert "Das hat nicht funktioniert" in response.content.decode()


def test_the_page_of_a_request_that_could_not_be_read_is_in_that_of_the_site(browser, settings):
    settings.LANGUAGE_CODE = "de"

    response = browser.get(f"{AUTHORIZE}?ui_locales=en&state=%00")

    assert response.status_code == 400
    assert ("html", {"lang": "de", "dir": "ltr"}) in outline(response)


def test_an_answer_in_another_language_is_an_answer(signed_in, application):
    page = signed_in.get(url(application, prompt="consent", ui_locales="de"))

    assert "code" in answer_of(press(signed_in, page, "allow"))


def test_the_scopes_of_a_site_are_described_in_its_words(signed_in, settings):
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "SCOPES": {"openid": "Sign you in", "orders": "See <all> orders", "bare": ""},
    }
    application = ClientFactory(redirect_uris=CALLBACK, scope="openid orders bare", asks_consent=True)

    text = signed_in.get(url(application, scope="openid orders bare", ui_locales="de")).content.decode()

    assert re.findall(r"<li>(.*?)</li>", text) == ["Sie anmelden", "See &lt;all&gt; orders", "bare"]


def test_a_site_overrides_the_templates(signed_in, application, settings, tmp_path):
    folder = tmp_path / "django_ciam_token"
    folder.mkdir()
    (folder / "base.html").write_text("<p>Our own</p>{% block content %}{% endblock %}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]

    page = signed_in.get(url(application, prompt="consent"))

    assert page.content.decode().startswith("<p>Our own</p>")
    assert form_of(page)[0] == AUTHORIZE


class Wide(AuthorizationView):
    content_security_policy = "default-src 'self' https://cdn.example.com; frame-ancestors 'none'"


class OwnView:
    urlpatterns = [path("oauth2/authorize", Wide.as_view()), *Prefixed.urlpatterns]


def test_a_site_has_a_policy_of_its_own(signed_in, application):
    with override_settings(ROOT_URLCONF=OwnView):
        response = signed_in.get(url(application, prompt="consent"))

    assert response["Content-Security-Policy"] == Wide.content_security_policy


# Other origins


@pytest.mark.parametrize("path_", [AUTHORIZE, "/oauth2/logout"])
def test_no_script_of_another_origin_reads_a_page(signed_in, path_):
    origin = "https://app.example.com"
    application = ClientFactory(redirect_uris=CALLBACK, allowed_origins=origin)
    query = url(application).split("?")[1]

    got = signed_in.get(f"{path_}?{query}", HTTP_ORIGIN=origin)
    asked = signed_in.options(path_, HTTP_ORIGIN=origin, HTTP_ACCESS_CONTROL_REQUEST_METHOD="GET")

    assert "Access-Control-Allow-Origin" not in got
    assert "Access-Control-Allow-Origin" not in asked


@pytest.mark.parametrize("path_", [AUTHORIZE, "/oauth2/logout"])
@pytest.mark.parametrize("is_form_post", [True, False])
def test_not_even_of_origins_that_the_rest_of_the_site_is_open_to(signed_in, settings, path_, is_form_post):
    settings.CORS_ALLOW_ALL_ORIGINS = settings.CORS_ALLOW_CREDENTIALS = True
    application = ClientFactory(redirect_uris=CALLBACK)
    query = url(application, response_mode="form_post" if is_form_post else None).split("?")[1]

    response = signed_in.get(f"{path_}?{query}", HTTP_ORIGIN="https://evil.example")

    assert not [name for name in response.headers if name.startswith("access-control-")]


def test_the_pages_are_views_of_a_site_like_any_other(signed_in, application, rf, user):
    """Without middleware and URLs: what a site can call in tests of its own."""
    request = rf.get(url(application))
    request.user, request.session = user, {}

    response = AuthorizationView.as_view()(request)

    assert "code" in answer_of(response)
    assert exchange(application, answer_of(response)["code"])


def test_a_request_without_a_user_is_a_mistake_of_the_site(rf, application):
    assert_page(AuthorizationView.as_view()(rf.get(url(application))), 500)


def test_parameters_may_come_in_any_order(signed_in, application):
    query = "&".join(reversed(url(application).split("?")[1].split("&")))

    assert "code" in answer_of(signed_in.get(f"{AUTHORIZE}?{query}"))
    assert parameters(application)
    assert_page(signed_in.get(f"{AUTHORIZE}?{query}&client_id=x"))


@pytest.mark.django_db(transaction=True)
def test_under_asgi(application, user):
    async def visit():
        browser = AsyncClient()
        refused = await browser.get(url(application, client_id="nobody"))
        to_login = await browser.get(url(application, state="ä"))
        await browser.aforce_login(user)
        form = urlencode(parameters(application))
        kind = "application/x-www-form-urlencoded"
        return refused, to_login, await browser.post(AUTHORIZE, form, content_type=kind)

    refused, to_login, response = async_to_sync(visit)()

    assert_page(refused)
    assert next_of(to_login) == url(application, state="ä")
    assert "code" in answer_of(response)


@pytest.mark.parametrize("path_", [AUTHORIZE, "/oauth2/logout"])
def test_under_asgi_nothing_around_the_application_finds_the_query(application, user, path_):
    query = url(application).split("?")[1]
    scope = AsyncRequestFactory()._base_scope(path=path_, query_string=query)

    async def visit():
        visitor = ApplicationCommunicator(get_asgi_application(), scope)
        await visitor.send_input({"type": "http.request"})
        return await visitor.receive_output(timeout=20)

    assert async_to_sync(visit)()["type"] == "http.response.start"
    assert scope["query_string"] == b""
