"""Cross-origin requests from browsers, for sites that have django-cors-headers installed.

django-cors-headers does the protocol; this tells it which origins the active clients are allowed.

Under ASGI its middleware asks on the event loop and can't be made to wait without all other requests. So
nothing is read there: the answer comes from the copy that this process has, and a thread reads another.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps
from django.core.signals import request_started
from django.db import Error, connections
from django.http import HttpRequest

from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.age import Instant
from django_ciam_token.database.forks import after_fork
from django_ciam_token.database.retry import read_rows
from django_ciam_token.database.routing import write_database
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client

logger = logging.getLogger("django_ciam_token")

THREAD: Final = "django_ciam_token.origins"
"""The name of a thread that reads."""
# Seconds that a request waits, off the event loop, for the first reading of a process.
_WAIT_FOR_THE_FIRST: Final = 1.0
# What people see in a browser: no script of another site may read it (OAuth 2.0 for Browser-Based Apps).
_PAGES: Final = frozenset({"authorize", "logout"})


@dataclass(frozen=True)
class _Copy:
    """The origins of all active clients of a tenant, as this process last read them.

    A preflight request does not say which client asks, so an origin is allowed if any client has it.
    """

    origins: frozenset[str]
    read_at: Instant


@dataclass(frozen=True)
class _Reading:
    """A reading in a thread of its own."""

    began_at: Instant = field(default_factory=Instant.now)
    done: threading.Event = field(default_factory=threading.Event)

    def is_stuck(self) -> bool:
        return not self.began_at.is_recent()


_copies: dict[Hashable, _Copy] = {}
_readings: dict[Hashable, _Reading] = {}


def connect() -> None:
    """Listen to django-cors-headers, if the site uses it."""
    if apps.is_installed("corsheaders"):
        from corsheaders.signals import check_request_enabled

        check_request_enabled.connect(allow_client_origins, dispatch_uid="django_ciam_token")
        request_started.connect(await_first_reading, dispatch_uid="django_ciam_token")
        after_fork(_readings.clear)


def allow_client_origins(sender: Any, request: HttpRequest, **kwargs: Any) -> bool:
    """Tell whether the request is for one of our endpoints and from the origin of an active client."""
    origin = request.headers.get("Origin")
    if not origin:
        return False
    match = request.resolver_match or _resolve(request)
    if match is None or "django_ciam_token" not in match.app_names or match.url_name in _PAGES:
        return False
    return origin in allowed_origins()


def await_first_reading(sender: Any, scope: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
    """Under ASGI, have the origins read before a browser's first request is handled.

    Django calls receivers of `request_started` in a thread of the request, so the event loop goes on. After
    a second nobody waits any more, whether the database has answered or not.
    """
    if scope is None or not any(name == b"origin" for name, _ in scope.get("headers", ())):
        return
    using = write_database(Client)
    tenant = tenant_key(using)
    if tenant not in _copies and not _has_schemas(using):
        reading = _read_in_background(using, tenant)
        reading.done.wait(max(0.0, _WAIT_FOR_THE_FIRST - reading.began_at.age()))


def allowed_origins() -> frozenset[str]:
    """Return the origins of all active clients, read as rarely as the signing keys.

    On an event loop they may be older, and there are none before the first reading.
    """
    using = write_database(Client)
    is_on_loop = _is_on_event_loop()
    if is_on_loop and _has_schemas(using):
        return frozenset()
    tenant = tenant_key(using)
    copy = _copies.get(tenant)
    if copy is None or not copy.read_at.is_recent():
        if is_on_loop:
            _read_in_background(using, tenant)
        else:
            copy = _read(using, tenant)
    return frozenset() if copy is None else copy.origins


def forget() -> None:
    """Drop this process's copies."""
    _copies.clear()
    _readings.clear()


def _read(using: str, tenant: Hashable) -> _Copy | None:
    """Read them; while the database refuses, return the copy there is."""
    read_at = Instant.now()
    try:
        copy: _Copy | None = _Copy(_read_origins(using), read_at)
    except (Error, TemporarilyUnavailable):
        # What the endpoint says of it should be readable for the script. And an answer may be waiting
        # whose rotation has been committed, so that nothing must be raised here.
        logger.warning(
            "The origins of browser applications can't be read",
            extra={"event": "allowed_origins_stale"},
        )
        copy = _copies.get(tenant)
        if copy is not None:
            copy = _Copy(copy.origins, Instant.almost_outdated())
    if copy is not None:
        _copies[tenant] = copy
    return copy


def _read_in_background(using: str, tenant: Hashable) -> _Reading:
    """Begin to read in a thread, unless one is reading already; a reading that is stuck is given up."""
    running = _readings.get(tenant)
    if running is not None and running.is_stuck():
        _readings.pop(tenant, None)
    reading = _Reading()
    running = _readings.setdefault(tenant, reading)
    if running is reading:
        # A daemon, so that a database that does not answer can't keep the process from ending. What the
        # site knows of the request, such as its tenant, is found in its context.
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(_read_and_close, using, tenant, reading), name=THREAD, daemon=True
        )
        thread.start()
    return running


def _read_and_close(using: str, tenant: Hashable, reading: _Reading) -> None:
    try:
        if tenant_key(using) == tenant:
            _read(using, tenant)
        else:
            logger.error(
                "The origins of browser applications can't be read: a thread does not see the same tenant",
                extra={"event": "allowed_origins_stale"},
            )
    except Exception as error:  # noqa: BLE001 - nobody else would hear of it
        logger.warning(
            "The origins of browser applications can't be read: %s",
            type(error).__name__,
            extra={"event": "allowed_origins_stale"},
        )
    finally:
        connections.close_all()  # Of this thread, which ends here.
        if _readings.get(tenant) is reading:
            del _readings[tenant]
        reading.done.set()


def _read_origins(using: str) -> frozenset[str]:
    rows = Client.objects.using(using).filter(is_active=True).exclude(allowed_origins="")
    texts = read_rows(rows.values_list("allowed_origins", flat=True))
    return frozenset(origin for text in texts for origin in text.split())


def _has_schemas(using: str) -> bool:
    """Tell whether each tenant has a schema, as django-tenants sets it for a connection.

    That connection is one of the request's thread. What the event loop's own shows is nobody's, or another
    tenant's, so no origin is allowed there.
    """
    return ciam_settings.CACHE_SCOPE is None and hasattr(connections[using], "schema_name")


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _resolve(request: HttpRequest) -> Any:
    from django.urls import Resolver404, resolve

    try:
        # Sites with several hosts choose the URLconf in a middleware.
        return resolve(request.path_info, urlconf=getattr(request, "urlconf", None))
    except Resolver404:
        return None
