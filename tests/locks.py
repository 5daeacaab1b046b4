"""Locks that other people hold."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from django.db import connection, connections, models, transaction


@contextmanager
def held_elsewhere(lock: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Hold a lock on a connection of another thread."""
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with lock():
                locked.set()
                release.wait(10)
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(10)
    try:
        yield
    finally:
        release.set()
        thread.join()


@contextmanager
def table_lock(model: type[models.Model]) -> Iterator[None]:
    """As an ALTER TABLE, a backup or an index that is being built holds it: others may read.

    SQLite has one lock for all tables.
    """
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(f"LOCK TABLES {table} READ")
            yield
            cursor.execute("UNLOCK TABLES")
            return
        with transaction.atomic():
            if connection.vendor == "postgresql":
                cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")
            else:
                _write(model)
            yield


@contextmanager
def row_locks(model: type[models.Model]) -> Iterator[None]:
    """As somebody holds them who has changed the rows and does not commit."""
    with transaction.atomic():
        _write(model)
        yield


def _write(model: type[models.Model]) -> None:
    """Change every row, into what it is."""
    name = model._meta.concrete_fields[-1].name
    model.objects.update(**{name: models.F(name)})
