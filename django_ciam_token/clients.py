"""Registering clients and replacing their secrets."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.hashers import identify_hasher
from django.db import router, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from django_ciam_token import signals
from django_ciam_token.callers import NOBODY, Caller
from django_ciam_token.client_authentication import secret_digest
from django_ciam_token.conf import ciam_settings
from django_ciam_token.models import ApplicationType, Client, ClientSecret
from django_ciam_token.transactions import retry

logger = logging.getLogger("django_ciam_token")

# The prefix lets secret scanners recognise it; all characters survive form-encoding unchanged.
SECRET_PREFIX: Final = "ciam_cs_"
_SECRET_BYTES: Final = 32
_LONGEST_DIGEST: Final = 255


@sensitive_variables()
def create_client(
    *, name: str, application_type: ApplicationType | str, **fields: Any
) -> tuple[Client, str | None]:
    """Register a client and return it with its secret, which can't be had again.

    Args:
        name: what people call it.
        application_type: ``web`` and ``m2m`` get a secret; for ``spa`` and ``mobile`` it is None.
        fields: further fields of `Client`.

    Raises:
        django.core.exceptions.ValidationError: a field is wrong, or the client_id is taken.
    """
    client = Client(name=name, application_type=application_type, **fields)
    client.full_clean()
    with transaction.atomic(using=_database()):
        client.save(using=_database(), force_insert=True)
        secret = add_first_secret(client) if client.must_have_secret else None
    return client, secret


@sensitive_variables()
def add_first_secret(client: Client) -> str:
    """Give a new client its secret and return it; it can't be had again."""
    secret = _new_secret()
    _store_secret(client, secret, timezone.now())
    return secret


@sensitive_variables()
def rotate_client_secret(
    client: Client,
    *,
    overlap: timedelta | None = None,
    now: datetime | None = None,
    actor: str = "",
    caller: Caller = NOBODY,
) -> str:
    """Give a client a new secret and return it; it can't be had again.

    Of its present secrets the newest that has been used goes on working for the overlap, or the newest if
    none has; any other ends now, so there are never more than two.

    Args:
        client: confidential afterwards, even if it was public before.
        overlap: how long the present secret still works; the setting ``CLIENT_SECRET_OVERLAP`` if None.
        now: the present, by default the host's clock.
        actor: who did it, if it was a person: a user name.
        caller: from where the request came.

    Raises:
        TemporarilyUnavailable: the database refused. If a COMMIT broke, there may be a secret that nobody
            has seen, and the present one ends as was asked for; the same call again gives another.
    """
    now = now or timezone.now()
    ends_at = now + (ciam_settings.CLIENT_SECRET_OVERLAP if overlap is None else overlap)
    using = _database()
    secret = _new_secret()

    def write() -> None:
        with transaction.atomic(using=using):
            # Two rotations at once: the second waits here and then sees the first one's secret.
            Client.objects.using(using).select_for_update().get(pk=client.pk)
            # After a COMMIT whose outcome is unknown the new secret may be there already: replacing it
            # once more would end the one that the application uses.
            if client.secrets.using(using).filter(secret_digest=secret_digest(secret)).exists():
                return
            _end_secrets(client, now=now, ends_at=ends_at, using=using)
            _store_secret(client, secret, now)

    retry(write, using=using)
    logger.info(
        "Client %s got a new secret; the one before works until %s at most",
        client.client_id,
        ends_at.isoformat(),
        extra={"event": "client_secret_rotated", "client_id": client.client_id},
    )
    signals.send_after_commit(
        signals.client_secret_rotated,
        sender=Client,
        using=using,
        client=client,
        replaced_expires_at=ends_at,
        actor=actor,
        caller=caller,
    )
    return secret


def import_client_secret(client: Client, password_hash: str) -> ClientSecret:
    """Let a client keep a secret from elsewhere, of which only a Django password hash is known.

    Every refresh then costs what that hash costs; give the client a new secret when you can. Its present
    secrets end.

    Raises:
        ValueError: it is not a hash that this site's ``PASSWORD_HASHERS`` can check.
    """
    try:
        identify_hasher(password_hash).decode(password_hash)
    except Exception:  # noqa: BLE001 - hashers raise whatever their parsing raises, quoting what may be a secret
        raise ValueError(
            "not a password hash that PASSWORD_HASHERS can check, such as pbkdf2_sha256$…"
        ) from None
    if len(password_hash) > _LONGEST_DIGEST:
        raise ValueError(f"a password hash of more than {_LONGEST_DIGEST} characters")
    now, using = timezone.now(), _database()
    with transaction.atomic(using=using):
        # A rotation at the same time would give a secret that ends here its former end back.
        Client.objects.using(using).select_for_update().get(pk=client.pk)
        _end_secrets(client, now=now, ends_at=now, using=using)
        return ClientSecret.objects.using(using).create(
            client=client, secret_digest=password_hash, last_four="????"
        )


def _new_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


@sensitive_variables()
def _store_secret(client: Client, secret: str, now: datetime) -> None:
    ClientSecret.objects.using(_database()).create(
        client=client, secret_digest=secret_digest(secret), last_four=secret[-4:], created_at=now
    )


def secret_to_keep(live: Sequence[ClientSecret]) -> ClientSecret | None:
    """Return which of a client's live secrets, the newest first, a rotation lets work on.

    One that was drawn but never got to the application (a second click, an answer that was lost) must not
    take the place of the one that the application works with.
    """
    used = (stored for stored in live if stored.last_used_at is not None)
    return next(used, live[0] if live else None)


def _end_secrets(client: Client, *, now: datetime, ends_at: datetime, using: str) -> None:
    """Let one live secret work until an instant, end the others, and forget those long ended."""
    present = ClientSecret.objects.using(using).filter(client=client)
    present.filter(expires_at__lte=now).delete()
    live = list(present.order_by("-pk"))
    kept = secret_to_keep(live)
    for stored in live:
        end = ends_at if stored is kept else now
        stored.expires_at = end if stored.expires_at is None else min(end, stored.expires_at)
        stored.save(using=using, update_fields=["expires_at"])


def _database() -> str:
    return router.db_for_write(Client)
