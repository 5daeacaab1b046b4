"""A cursor is kept only where opening one runs Django's own code and nothing else."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import unittest
from contextlib import contextmanager

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, connections
from django.db.backends import utils
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import SimpleTestCase
from django.utils.asyncio import async_unsafe

from django_ciam_token.models import RefreshToken
from django_ciam_token.sessions.rows import read_session

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def session_id(first_tokens, as_in_production):
    session_id = RefreshToken.objects.get().pk
    read_session(session_id, using="default")
    return session_id


@contextmanager
def openings():
    """Count how often Django opens a cursor, without replacing anything of it."""
    opened, code = [], inspect.unwrap(BaseDatabaseWrapper.cursor).__code__
    previous = sys.getprofile()
    sys.setprofile(lambda frame, event, _: event == "call" and frame.f_code is code and opened.append(1))
    try:
        yield opened
    finally:
        sys.setprofile(previous)


def test_no_refresh_opens_a_cursor(as_in_production, web_client, first_tokens, refresh):
    token = first_tokens["refresh_token"]
    for _ in range(3):
        with openings() as opened:
            token = refresh(web_client, token).json()["refresh_token"]

    # On SQLite Django's BEGIN is a statement like any other.
    assert len(opened) == (connection.vendor == "sqlite")


def test_a_connection_that_was_closed_takes_its_cursors_along(session_id):
    connection.close()

    assert read_session(session_id, using="default").session.pk == session_id


def test_cursors_are_opened_anew_for_another_time_zone_and_for_who_logs(
    session_id, settings, django_assert_num_queries
):
    in_utc = read_session(session_id, using="default").session.issued_at

    settings.TIME_ZONE, settings.USE_TZ = "Asia/Tokyo", False
    naive = read_session(session_id, using="default").session.issued_at

    assert naive == RefreshToken.objects.get().issued_at
    assert naive.tzinfo is None
    assert in_utc.tzinfo is not None
    with django_assert_num_queries(1):
        read_session(session_id, using="default")


def watching(function, seen):
    @functools.wraps(function)
    def watch(*arguments, **others):
        seen.append(1)
        return function(*arguments, **others)

    return watch


@pytest.mark.parametrize("name", ["cursor", "_cursor", "ensure_connection", "_prepare_cursor", "make_cursor"])
def test_who_replaces_a_function_of_djangos_class_sees_every_cursor(session_id, monkeypatch, name):
    seen = []
    monkeypatch.setattr(BaseDatabaseWrapper, name, watching(getattr(BaseDatabaseWrapper, name), seen))

    for _ in range(3):
        read_session(session_id, using="default")

    assert len(seen) >= 3


def test_who_replaces_a_function_of_the_backend_sees_every_cursor_also_with_djangos_decorator(
    session_id, monkeypatch
):
    seen, backend = [], type(connections["default"])
    monkeypatch.setattr(backend, "create_cursor", async_unsafe(watching(backend.create_cursor, seen)))

    for _ in range(3):
        read_session(session_id, using="default")

    assert len(seen) == 3


@pytest.mark.parametrize("name", ["cursor", "create_cursor"])
def test_who_replaces_a_function_of_one_connection_sees_every_cursor(session_id, monkeypatch, name):
    seen, wrapper = [], connections["default"]
    monkeypatch.setattr(wrapper, name, watching(getattr(wrapper, name), seen))

    for _ in range(3):
        read_session(session_id, using="default")

    assert len(seen) == 3


def test_who_replaces_djangos_cursors_sees_every_one(session_id, monkeypatch):
    seen = []

    class Watched(utils.CursorWrapper):
        def execute(self, sql, params=None):
            seen.append(sql)
            return super().execute(sql, params)

    monkeypatch.setattr(utils, "CursorWrapper", Watched)
    for _ in range(3):
        read_session(session_id, using="default")

    assert len(seen) == 3


def test_a_backend_of_its_own_sees_every_cursor(session_id, monkeypatch):
    """As that of django-tenants does."""
    seen, wrapper = [], connections["default"]

    class Backend(type(wrapper)):
        def _cursor(self, name=None):
            seen.append(1)
            return super()._cursor(name)

    monkeypatch.setattr(wrapper, "__class__", Backend)
    for _ in range(3):
        read_session(session_id, using="default")

    assert len(seen) == 3


def test_afterwards_cursors_are_kept_again(session_id, monkeypatch):
    wrapper = connections["default"]
    with monkeypatch.context() as patch:
        patch.setattr(wrapper, "cursor", watching(wrapper.cursor, []))
        patch.setattr(BaseDatabaseWrapper, "cursor", watching(BaseDatabaseWrapper.cursor, []))
        read_session(session_id, using="default")
    read_session(session_id, using="default")

    with openings() as opened:
        read_session(session_id, using="default")

    assert not opened


def test_the_guard_of_pytest_django_is_not_passed(session_id, django_db_blocker, monkeypatch):
    monkeypatch.undo()
    with django_db_blocker.block(), pytest.raises(RuntimeError, match="Database access not allowed"):
        read_session(session_id, using="default")


def test_the_guard_of_djangos_own_tests_is_not_passed(session_id, monkeypatch):
    monkeypatch.undo()

    class Guarded(SimpleTestCase):
        def runTest(self):  # noqa: N802
            with pytest.raises(Exception, match=r"Database queries to 'default' are not allowed"):
                read_session(session_id, using="default")

    result = unittest.TestResult()
    unittest.TestSuite([Guarded()]).run(result)

    assert (result.testsRun, result.failures, result.errors) == (1, [], [])


def test_djangos_guard_of_event_loops_is_not_passed(session_id):
    async def read():
        with pytest.raises(SynchronousOnlyOperation):
            read_session(session_id, using="default")

    asyncio.run(read())
