"""Registering clients."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.db import transaction

from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.clients.changes import report_creation
from django_ciam_token.clients.secrets import add_first_secret
from django_ciam_token.concealed import Concealed
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import ApplicationType, Client

_LIFETIMES: Final[Mapping[str, Mapping[str, timedelta]]] = {
    # Used now and then, by people who expect to still be signed in.
    ApplicationType.MOBILE: {
        "refresh_token_lifetime": timedelta(days=30),
        "session_lifetime": timedelta(days=180),
    },
    # A job that runs once a week must not find its token expired.
    ApplicationType.M2M: {
        "refresh_token_lifetime": timedelta(days=30),
        "session_lifetime": timedelta(days=365),
    },
}


def lifetimes_of_type(application_type: str) -> Mapping[str, timedelta]:
    """Return the fields with lifetimes that a new client of a type gets if nothing else is said.

    For all other lifetimes the site's settings apply.
    """
    return _LIFETIMES.get(application_type, {})


def create_client(
    *,
    name: str,
    application_type: ApplicationType | str,
    actor: str = "",
    caller: Caller = NOBODY,
    **fields: Any,
) -> tuple[Client, str | None]:
    """Register a client and return it with its secret, which can't be recovered.

    Args:
        name: what people call it.
        application_type: ``web`` and ``m2m`` get a secret; for ``spa`` and ``mobile`` it is None. The
            refresh tokens of ``mobile`` and ``m2m`` live for 30 days unused, their sessions for 180 and 365
            days, unless ``refresh_token_lifetime`` and ``session_lifetime`` say otherwise.
        actor: who did it, if it was a person: a user name.
        caller: where the request came from.
        fields: further fields of `Client`; None is as if it were left out.

    Raises:
        django.core.exceptions.ValidationError: a field is wrong, or the client_id is taken.
    """
    client, secret = register_client(
        name=name, application_type=application_type, actor=actor, caller=caller, **fields
    )
    return client, None if secret is None else secret.reveal()


def register_client(
    *,
    name: str,
    application_type: ApplicationType | str,
    actor: str = "",
    caller: Caller = NOBODY,
    **fields: Any,
) -> tuple[Client, Concealed | None]:
    """Do what `create_client` does, and return the secret so that no error report can have it."""
    given = {field: value for field, value in fields.items() if value is not None}
    client = Client(
        name=name, application_type=application_type, **{**lifetimes_of_type(application_type), **given}
    )
    client.full_clean()
    using = write_database(Client)
    with transaction.atomic(using=using):
        client.save(using=using, force_insert=True)
        secret = add_first_secret(client) if client.must_have_secret else None
    report_creation(client, actor=actor, caller=caller)
    return client, secret
