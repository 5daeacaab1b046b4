"""A field that tells upper from lower case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField


class CaseSensitiveCharField(_CharField):
    """A CharField that distinguishes upper and lower case on every database.

    By default MariaDB and MySQL ignore case when they compare, and no collation has a name that all
    databases know.
    """

    def db_parameters(self, connection: Any) -> Any:
        """Add the collation where the database needs one."""
        parameters: Any = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters
