"""Letting changes of one client wait for each other."""

from __future__ import annotations

from django.db import connections

from django_ciam_token.models import Client


def locked(pk: int, *, using: str) -> Client:
    """Read a client within a transaction, and let others that change it wait until its end.

    Raises:
        Client.DoesNotExist: it was deleted meanwhile.
    """
    # Sessions refer to the row: on PostgreSQL a stronger lock would keep users from signing in meanwhile.
    no_key = connections[using].features.has_select_for_no_key_update
    return Client.objects.using(using).select_for_update(no_key=no_key).get(pk=pk)
