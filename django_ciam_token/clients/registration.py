"""Registering clients."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from django_ciam_token.clients.secrets import add_first_secret
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import ApplicationType, Client


@sensitive_variables()
def create_client(
    *, name: str, application_type: ApplicationType | str, **fields: Any
) -> tuple[Client, str | None]:
    """Register a client and return it with its secret, which can't be recovered.

    Args:
        name: what people call it.
        application_type: ``web`` and ``m2m`` get a secret; for ``spa`` and ``mobile`` it is None.
        fields: further fields of `Client`.

    Raises:
        django.core.exceptions.ValidationError: a field is wrong, or the client_id is taken.
    """
    client = Client(name=name, application_type=application_type, **fields)
    client.full_clean()
    using = write_database(Client)
    with transaction.atomic(using=using):
        client.save(using=using, force_insert=True)
        secret = add_first_secret(client) if client.must_have_secret else None
    return client, secret
