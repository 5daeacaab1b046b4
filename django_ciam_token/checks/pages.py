"""The checks of what signing in needs of the site: its login page, its middleware, and where the URLs are.

They are warnings: a site may serve nothing but the token endpoint to anyone, and still have all the URLs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, ResolverMatch, get_script_prefix, resolve, reverse
from django.utils import translation
from django.utils.module_loading import import_string

from django_ciam_token.checks.messages import warning
from django_ciam_token.conf import ciam_settings

_APP: Final = "django_ciam_token"
_DISCOVERY: Final = "openid-configuration"
_NAMES: Final = (
    *("authorize", "logout", "token", "revoke", "introspect", "jwks", "userinfo"),
    *(_DISCOVERY, "oauth-authorization-server"),
)
_MIDDLEWARE: Final = {
    "SessionMiddleware": "django.contrib.sessions.middleware.SessionMiddleware",
    "AuthenticationMiddleware": "django.contrib.auth.middleware.AuthenticationMiddleware",
}
_HOW_TO_LEAVE_OUT: Final = (
    "Or leave authorization_code out of CIAM_TOKEN['GRANTS'] if the site has first tokens of its own."
)


def check_pages(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check that people can sign in, and that applications find the endpoints; without a query."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    found: list[CheckMessage] = [
        *_check_languages(),
        *_check_issuer_path(),
        *_check_shadows(),
        *_check_cors_middleware(),
    ]
    if _signs_people_in():
        found += [*_check_login_url(), *_check_middleware()]
    return found


def _signs_people_in() -> bool:
    try:
        return "authorization_code" in ciam_settings.GRANTS and _path("authorize") is not None
    except ImproperlyConfigured:
        return False  # `check_settings` reports it.


def _path(name: str) -> str | None:
    """Return the path of a view of ours; None if it is not among the URLs of ``ROOT_URLCONF``."""
    try:
        return reverse(f"{_APP}:{name}")
    except NoReverseMatch:
        return None


def _view_at(path: str) -> ResolverMatch | None:
    """Return the view that answers at a path; None if there is none."""
    try:
        return resolve("/" + path.removeprefix(get_script_prefix()))
    except Resolver404:
        return None


def _check_login_url() -> Iterator[CheckMessage]:
    hint = f"Set LOGIN_URL to the site's login page. {_HOW_TO_LEAVE_OUT}"
    try:
        address = urlsplit(resolve_url(settings.LOGIN_URL))
    except NoReverseMatch:
        yield warning("W020", f"LOGIN_URL is {settings.LOGIN_URL!r}, which is no name of a URL.", hint)
        return
    # Another host, such as that of a single sign-on, can't be looked up.
    if not address.netloc and _view_at(address.path) is None:
        yield warning(
            "W020",
            f"There is no page at LOGIN_URL ({address.path}): nobody can sign in to applications.",
            hint,
        )


def _check_middleware() -> Iterator[CheckMessage]:
    for needed, path in _MIDDLEWARE.items():
        # By name: some packages have session middleware of their own that is no subclass of Django's.
        if not any(needed in _names_of_classes(name) for name in settings.MIDDLEWARE):
            yield warning(
                "W021",
                f"MIDDLEWARE has no {needed}: /oauth2/authorize and /oauth2/logout don't work.",
                f"Add {path}. {_HOW_TO_LEAVE_OUT}",
            )


def _check_cors_middleware() -> Iterator[CheckMessage]:
    if not apps.is_installed("corsheaders"):
        return
    if not any("CorsMiddleware" in _names_of_classes(name) for name in settings.MIDDLEWARE):
        yield warning(
            "W026",
            "INSTALLED_APPS has corsheaders, but MIDDLEWARE has no CorsMiddleware: no browser lets a "
            "single-page application of another origin read an answer.",
            "Put corsheaders.middleware.CorsMiddleware before CommonMiddleware.",
        )


def _names_of_classes(middleware: str) -> set[str]:
    try:
        found = import_string(middleware)
    except ImportError:
        return set()  # Django reports it with the first request.
    return {base.__name__ for base in getattr(found, "__mro__", ())}


def _check_languages() -> Iterator[CheckMessage]:
    """Check that an address is the same in every language."""
    paths = set()
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            paths.add(_path(_DISCOVERY))
    if len(paths) > 1:
        yield warning(
            "W022",
            "The URLs of django_ciam_token are included within i18n_patterns: their addresses, and so the "
            "discovery document, depend on the language of the request.",
            "Include them outside of i18n_patterns. The pages choose their language by themselves.",
        )


def _check_issuer_path() -> Iterator[CheckMessage]:
    path = _path(_DISCOVERY)
    try:
        issuer = urlsplit(ciam_settings.ISSUER)
    except (ImproperlyConfigured, ValueError):
        return  # `check_settings` reports it.
    expected = f"{issuer.path.rstrip('/')}/.well-known/{_DISCOVERY}"
    if path is not None and path != expected:
        yield warning(
            "W023",
            f"The discovery document is at {path}, but applications look for it at {expected}, which follows "
            "from CIAM_TOKEN['ISSUER'].",
            "Include the URLs at the path of the issuer, or give the issuer the path of the include.",
        )


def _check_shadows() -> Iterator[CheckMessage]:
    paths = [path for path in map(_path, _NAMES) if path is not None]
    shadowed = [path for path in paths if not _is_ours(_view_at(path))]
    if shadowed:
        yield warning(
            "W024",
            f"Something else answers at {', '.join(shadowed)}.",
            "Include the URLs of django_ciam_token before those of the other app, or remove the others.",
        )


def _is_ours(match: ResolverMatch | None) -> bool:
    """Tell whether a view is one of ours, or a site's subclass of one."""
    if match is None or _APP in match.app_names:
        return match is not None
    view = getattr(match.func, "view_class", None) or getattr(match.func, "cls", None)
    return any(base.__module__.startswith(f"{_APP}.") for base in getattr(view, "__mro__", ()))
