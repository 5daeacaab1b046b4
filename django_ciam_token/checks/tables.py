"""Whether the tables are there, in the present version."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage
from django.db import DatabaseError, InterfaceError, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from django_ciam_token.checks.messages import warning
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import RefreshToken

_APP = "django_ciam_token"


def check_tables(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that all migrations were applied; with ``check --database`` only.

    A database without any migration is about to get the first, and nothing is said of it.
    """
    using = write_database(RefreshToken)
    # `migrate` runs this as well, and is about to apply them.
    if using not in (databases or ()) or sys.argv[1:2] == ["migrate"]:
        return []
    connection = connections[using]
    try:
        if not MigrationRecorder(connection).has_table():
            return []
        loader = MigrationLoader(connection, ignore_no_migrations=True)
    except (DatabaseError, InterfaceError):
        return []  # Of a database that does not answer, others say so.
    ours = {key for key in loader.disk_migrations if key[0] == _APP}
    missing = sorted(name for _, name in ours - set(loader.applied_migrations))
    if not missing:
        return []
    return [
        warning(
            "W027",
            f"The database {using!r} lacks migrations of {_APP}: {', '.join(missing)}.",
            f"Run: manage.py migrate {_APP} --database {using}",
        )
    ]
