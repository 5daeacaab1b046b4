"""Which database to use."""

from __future__ import annotations

from django.db import router
from django.db.models import Model


def write_database(model: type[Model]) -> str:
    """Return the alias of the database to which the rows of a model are written.

    The service reads there as well: a replica that lags behind would show a superseded refresh token as the
    current one, or a disabled user as active.
    """
    return router.db_for_write(model)
