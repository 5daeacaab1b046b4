"""The checks of what signing in needs of the site."""

from __future__ import annotations

import pytest
from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.conf.urls.i18n import i18n_patterns
from django.core.checks import Warning as CheckWarning
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path, set_script_prefix

from django_ciam_token import checks
from django_ciam_token.checks import check_pages
from django_ciam_token.views.token import TokenView

ISSUER = "https://id.example.com"
TOKEN_ONLY = {"refresh_token": "django_ciam_token.grants.refresh_token.refresh"}


def page(request):
    return HttpResponse()


OURS = path("", include("django_ciam_token.urls"))
LOGIN = path("accounts/login/", page, name="login")


CORS = "corsheaders.middleware.CorsMiddleware"


class Plain:
    urlpatterns = [LOGIN, OURS]


class Nothing:
    urlpatterns = []


class WithoutLogin:
    urlpatterns = [OURS]


class Localised:
    urlpatterns = [LOGIN, *i18n_patterns(path("", include("django_ciam_token.urls")))]


class Prefixed:
    urlpatterns = [LOGIN, path("auth/", include("django_ciam_token.urls"))]


class Shadowed:
    urlpatterns = [
        LOGIN,
        path(".well-known/openid-configuration", page),
        path("oauth2/authorize", page),
        OURS,
    ]


class OwnCorsMiddleware(CorsMiddleware):
    """A site's own."""


class Narrow(TokenView):
    """A site's own."""


class Subclassed:
    urlpatterns = [LOGIN, path("oauth2/token", Narrow.as_view()), OURS]


def messages(urlconf=Plain, **values):
    with override_settings(ROOT_URLCONF=urlconf, CIAM_TOKEN={"ISSUER": ISSUER, **values}):
        return check_pages(None)


def ids(*args, **kwargs):
    return [message.id.rpartition(".")[2] for message in messages(*args, **kwargs)]


@pytest.mark.parametrize("urlconf", [Plain, Nothing, Subclassed])
def test_a_site_that_is_right_reports_nothing(urlconf):
    assert messages(urlconf) == []


def test_a_process_without_urls_reports_nothing():
    with override_settings(ROOT_URLCONF=None):
        assert check_pages(None) == []


def test_w020_there_is_no_login_page():
    assert messages(WithoutLogin) == [
        CheckWarning(
            "There is no page at LOGIN_URL (/accounts/login/): nobody can sign in to applications.",
            hint="Set LOGIN_URL to the site's login page. Or leave authorization_code out of "
            "CIAM_TOKEN['GRANTS'] if the site has first tokens of its own.",
            id="django_ciam_token.W020",
        )
    ]
    assert ids(WithoutLogin, GRANTS=TOKEN_ONLY) == []


def test_w020_login_url_is_no_name():
    with override_settings(LOGIN_URL="sign-in"):
        [found] = messages()

    assert (found.id, found.msg) == (
        "django_ciam_token.W020",
        "LOGIN_URL is 'sign-in', which is no name of a URL.",
    )


@pytest.mark.parametrize("login_url", ["login", "/accounts/login/?x=1", "https://sso.example.com/login"])
def test_a_login_page_may_be_named_or_elsewhere(login_url):
    with override_settings(LOGIN_URL=login_url):
        assert messages() == []


def test_w026_cors_headers_are_installed_without_their_middleware():
    without = [name for name in settings.MIDDLEWARE if name != CORS]
    with override_settings(MIDDLEWARE=without):
        assert ids(GRANTS=TOKEN_ONLY) == ["W026"]
    with override_settings(MIDDLEWARE=[*without, "tests.test_checks_of_pages.OwnCorsMiddleware"]):
        assert ids(GRANTS=TOKEN_ONLY) == []
    apps = [name for name in settings.INSTALLED_APPS if name != "corsheaders"]
    with override_settings(MIDDLEWARE=without, INSTALLED_APPS=apps):
        assert ids(GRANTS=TOKEN_ONLY) == []


def test_w021_middleware_is_missing():
    with override_settings(MIDDLEWARE=["not.there", "tests.test_checks_of_pages.page", CORS]):
        found = messages()
        assert ids(GRANTS=TOKEN_ONLY) == []

    assert [message.id for message in found] == ["django_ciam_token.W021"] * 2
    assert "SessionMiddleware" in found[0].msg
    assert "django.contrib.auth.middleware.AuthenticationMiddleware" in found[1].hint


@override_settings(LANGUAGES=[("en", "English"), ("de", "German")])
def test_w022_the_urls_depend_on_the_language():
    assert "W022" in ids(Localised)
    assert ids(Plain) == []


def test_w023_the_prefix_is_not_the_path_of_the_issuer():
    assert ids(Prefixed) == ["W023"]
    assert ids(Prefixed, ISSUER=f"{ISSUER}/auth") == []
    assert ids(Prefixed, ISSUER=f"{ISSUER}/auth/") == []
    assert ids(Plain, ISSUER=f"{ISSUER}/auth") == ["W023"]


def test_a_script_prefix_is_part_of_the_path():
    set_script_prefix("/site/")
    try:
        with override_settings(LOGIN_URL="login"):
            assert ids(Plain, ISSUER=f"{ISSUER}/site") == []
    finally:
        set_script_prefix("/")


def test_w024_another_app_answers():
    [found] = messages(Shadowed)

    assert (found.id, found.msg) == (
        "django_ciam_token.W024",
        "Something else answers at /oauth2/authorize, /.well-known/openid-configuration.",
    )


@pytest.mark.parametrize("values", [{"GRANTS": 5}, {"ISSUER": None}, {"ISSUER": "https://["}])
def test_a_wrong_setting_is_left_to_the_check_of_settings(values):
    assert ids(**values) == []


def test_the_check_is_registered():
    from django.core.checks import registry

    assert list(registry.registry.registered_checks).count(checks.check_pages) == 1
