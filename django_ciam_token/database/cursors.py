"""Cursors that stay open from one run of a statement to the next.

What psycopg finds out about the types of parameters and columns stays with a cursor, so keeping it saves some
5 % of a refresh. But other packages act when a cursor is *opened*: django-tenants sets the schema of the
customer there, toolbars record, test runners refuse. A cursor is therefore kept only while opening one runs
Django's own code and nothing else, and that is looked at before each use.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

from django.db.backends import utils

# What Django calls to open a cursor. Others replace one of them: in a backend of their own, in Django's
# classes, or in one connection.
_OPENING: Final = (
    "cursor",
    "_cursor",
    "ensure_connection",
    "_prepare_cursor",
    "create_cursor",
    "make_cursor",
)


@dataclass(frozen=True)
class _OpenCursor:
    """A cursor, and what must not have changed since it was opened."""

    cursor: Any
    driver_connection: Any
    timezone: tzinfo | None

    def __enter__(self) -> Any:
        return self.cursor

    def __exit__(self, *_: object) -> None:
        """Leave it open."""

    def is_of(self, connection: Any) -> bool:
        return self.driver_connection is connection.connection and self.timezone is connection.timezone


class KeptCursors(threading.local):
    """The cursors of one statement in this thread, one for each of its connections.

    Those of a thread that has ended go with it.
    """

    def __init__(self) -> None:
        self._by_alias: dict[str, _OpenCursor] = {}

    def cursor(self, connection: Any) -> AbstractContextManager[Any]:
        """Lend a cursor that no other statement uses; a kept one if that makes no difference.

        A result stays with a kept cursor until its next use or the end of the connection: the row or two
        that it consists of.
        """
        if not _is_opening_djangos_own(connection):
            self._by_alias.pop(connection.alias, None)
            return connection.cursor()  # type: ignore[no-any-return]
        connection.close_if_health_check_failed()
        opened = self._by_alias.get(connection.alias)
        if opened is None or not opened.is_of(connection):
            cursor = connection.cursor()
            opened = _OpenCursor(cursor, connection.connection, connection.timezone)
            self._by_alias[connection.alias] = opened
        return opened


def _is_opening_djangos_own(connection: Any) -> bool:
    # Django refuses to open one on an event loop.
    if connection.queries_logged or asyncio._get_running_loop() is not None:
        return False
    backend, own = type(connection), vars(connection)
    if not own.keys().isdisjoint(_OPENING) and any(
        # Where something was put back, it is an equal method.
        name in own and own[name] != getattr(backend, name).__get__(connection)
        for name in _OPENING
    ):
        return False
    opening = (backend, utils.CursorWrapper, *[getattr(backend, name) for name in _OPENING])
    # Functions are the same ones until somebody replaces one.
    global _found_djangos_own
    if opening != _found_djangos_own:
        if not all(_is_djangos_own(part) for part in opening):
            return False
        _found_djangos_own = opening
    return True


_found_djangos_own: tuple[Any, ...] = ()


def _is_djangos_own(part: Callable[..., Any] | type | None) -> bool:
    """Tell whether a class, or a function with everything that it was wrapped in, is part of Django."""
    while part is not None:
        # A wrapper takes over the name of what it wraps, but not its module's variables.
        module = part.__module__ if isinstance(part, type) else _module_of_code(part)
        if not module.startswith("django.db.") and module != "django.utils.asyncio":
            return False
        part = getattr(part, "__wrapped__", None)
    return True


def _module_of_code(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__globals__", {}).get("__name__", ""))
