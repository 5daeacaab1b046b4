"""Which app answers at the addresses that have to be the service's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.core.checks import CheckMessage
from django.urls import NoReverseMatch, get_resolver, get_script_prefix, reverse

from django_ciam_token.checks.messages import warning

_NAMES: Final = ("openid-configuration", "oauth-authorization-server")
_OURS: Final = "django_ciam_token."


def check_discovery(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check that no other app claims the addresses of the discovery documents, and say who serves them."""
    return [message for name in _NAMES for message in _check(name)]


def _check(name: str) -> Iterator[CheckMessage]:
    try:
        address = reverse(f"django_ciam_token:{name}")
    except NoReverseMatch:
        return  # The site serves our endpoints under another namespace, or in another URLconf, or not at all.
    path = "/" + address.removeprefix(get_script_prefix())
    # A view that takes whatever is left, such as the page of an application in the browser, claims nothing.
    take_all = set(_claims(get_resolver(), f"/nobody{path}"))
    first_come = dict.fromkeys(_claims(get_resolver(), path))
    claims = [view for place, view in enumerate(first_come) if place == 0 or view not in take_all]
    if len(claims) < 2:
        return
    first, *others = claims
    is_ours = first.startswith(_OURS)
    yield warning(
        "W010",
        f"{path} is claimed by several apps: {first} serves it, and {', '.join(others)} never sees a "
        "request.",
        "Clients find the endpoints of the one that serves it. That is what you want, if the other is "
        "on its way out: silence this warning until then."
        if is_ours
        else "Clients do not find this service. List django_ciam_token.urls before the other app in the "
        "URLconf once they are to.",
    )


def _claims(resolver: Any, path: str) -> Iterator[str]:
    """Return the names of all views that a path leads to, in the order in which Django asks them."""
    found = resolver.pattern.match(path)
    if not found:
        return
    for pattern in resolver.url_patterns:
        if hasattr(pattern, "url_patterns"):
            yield from _claims(pattern, found[0])
        elif pattern.pattern.match(found[0]):
            yield pattern.lookup_str
