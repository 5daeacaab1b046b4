"""Whose rows a database shows at the moment, where it holds those of several tenants."""

from __future__ import annotations

from collections.abc import Hashable

from django.db import connections

from django_ciam_token.conf import ciam_settings


def tenant_key(using: str) -> Hashable:
    """Return what tells the rows that this thread sees now from those of another tenant.

    It is part of the key of everything that a process keeps of the database.

    Args:
        using: the alias of the database.
    """
    scope = ciam_settings.CACHE_SCOPE
    if scope is not None:
        return using, scope()
    # django-tenants and its relatives: the schema that is searched on this connection.
    return using, getattr(connections[using], "schema_name", None)
