"""Calls from browsers of other origins, for sites that have django-cors-headers installed.

django-cors-headers does the protocol; this tells it which origins the active clients are allowed.
"""

from __future__ import annotations

import time
from typing import Any

from django.apps import apps
from django.db import router
from django.http import HttpRequest

from django_ciam_token.conf import ciam_settings
from django_ciam_token.models import Client
from django_ciam_token.transactions import UNAVAILABLE

# The origins of all active clients and when they were read, by the monotonic clock. A preflight
# request does not say which client asks, so an origin is allowed if any client has it.
_read: tuple[float, frozenset[str]] | None = None


def connect() -> None:
    """Listen to django-cors-headers, if the site uses it."""
    if apps.is_installed("corsheaders"):
        from corsheaders.signals import check_request_enabled

        check_request_enabled.connect(allow_client_origins, dispatch_uid="django_ciam_token")


def allow_client_origins(sender: Any, request: HttpRequest, **kwargs: Any) -> bool:
    """Tell whether the request is for one of our endpoints and from the origin of an active client."""
    origin = request.headers.get("Origin")
    if not origin:
        return False
    match = request.resolver_match or _resolve(request)
    return match is not None and "django_ciam_token" in match.app_names and origin in allowed_origins()


def allowed_origins() -> frozenset[str]:
    """Return the origins of all active clients, read as rarely as the signing keys."""
    global _read
    lifetime = ciam_settings.SIGNING_KEY_CACHE_LIFETIME.total_seconds()
    if _read is None or time.monotonic() - _read[0] >= lifetime:
        try:
            origins = _read_origins()
        except UNAVAILABLE:
            # The endpoint will say that the database is away, and the script should be able to read it.
            origins = _read[1] if _read else frozenset()
        _read = time.monotonic(), origins
    return _read[1]


def forget() -> None:
    """Drop this process's copy."""
    global _read
    _read = None


def _read_origins() -> frozenset[str]:
    rows = Client.objects.using(router.db_for_write(Client)).filter(is_active=True)
    texts = rows.exclude(allowed_origins="").values_list("allowed_origins", flat=True)
    return frozenset(origin for text in texts for origin in text.split())


def _resolve(request: HttpRequest) -> Any:
    from django.urls import Resolver404, resolve

    try:
        return resolve(request.path_info)
    except Resolver404:
        return None
