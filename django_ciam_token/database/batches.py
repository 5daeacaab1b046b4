"""How many rows fit into one statement."""

from __future__ import annotations

from typing import Final

from django.db import connections

# Room for the parameters besides the ids: SQLite limits how many a statement may have.
_OTHER_PARAMETERS: Final = 50


def fitting_batch_size(wanted: int, *, using: str) -> int:
    """Return a batch size whose ids all fit into one statement of this database.

    Raises:
        ValueError: the wanted size is less than one.
    """
    if wanted < 1:
        raise ValueError("A batch has at least one row.")
    most = connections[using].features.max_query_params
    return wanted if most is None else min(wanted, most - _OTHER_PARAMETERS)
