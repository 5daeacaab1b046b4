"""Cross-origin requests from browsers, for sites that have django-cors-headers installed.

django-cors-headers handles the protocol; this module tells it which origins the active clients may use.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from django.apps import apps
from django.db import Error, connections
from django.http import HttpRequest

from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client

logger = logging.getLogger("django_ciam_token")

# Seconds until the next attempt to read while the database is unavailable.
_PAUSE_OF_READING: Final = 5.0
# The origins of all active clients, and when they were read by the monotonic clock. A preflight request does
# not say which client it is for, so an origin is allowed if any client has it.
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
    lifetime = ciam_settings.PROCESS_CACHE_LIFETIME.total_seconds()
    if _read is None or time.monotonic() - _read[0] >= lifetime:
        try:
            _read = time.monotonic(), _read_anywhere()
        except (Error, TemporarilyUnavailable):
            # Nothing may be raised here. The script should be able to read the endpoint's error. And the
            # rotation of an answer that waits may be committed already.
            logger.warning(
                "The origins of browser applications can't be read",
                extra={"event": "allowed_origins_stale"},
            )
            if _read is None:
                return frozenset()
            _read = time.monotonic() - lifetime + _PAUSE_OF_READING, _read[1]
    return _read[1]


def forget() -> None:
    """Drop this process's copy."""
    global _read
    _read = None


def _read_anywhere() -> frozenset[str]:
    """Read the origins, also in an event loop, where the middleware runs under ASGI; Django forbids that."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _read_origins()
    # The event loop waits. It is one query once in a while, and the middleware can't await the answer.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_read_and_close).result()


def _read_and_close() -> frozenset[str]:
    try:
        return _read_origins()
    finally:
        connections.close_all()  # Those of this thread, which ends here.


def _read_origins() -> frozenset[str]:
    using = write_database(Client)
    rows = Client.objects.using(using).filter(is_active=True).exclude(allowed_origins="")
    texts = retry(lambda _: list(rows.values_list("allowed_origins", flat=True)), using=using)
    return frozenset(origin for text in texts for origin in text.split())


def _resolve(request: HttpRequest) -> Any:
    from django.urls import Resolver404, resolve

    try:
        return resolve(request.path_info)
    except Resolver404:
        return None
