"""Ending one chosen secret of a client that has two."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.clients.locking import locked
from django_ciam_token.clients.secrets import is_live
from django_ciam_token.database.local_time import after
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client, ClientSecret

logger = logging.getLogger("django_ciam_token")


class OnlySecret(Exception):
    """The client has no other secret that lasts: without this one all its requests would be refused."""


# The other operator's host may be ahead by this much, and the secret that they retire end in our future.
_CLOCKS_DIFFER_BY: Final = timedelta(minutes=1)


def live_secrets(client: Client, *, now: datetime | None = None) -> list[ClientSecret]:
    """Return the secrets of a client that have not ended, the newest first."""
    now = now or timezone.now()
    present = ClientSecret.objects.using(write_database(Client)).filter(client=client).order_by("-pk")
    return [secret for secret in present if is_live(secret, now)]


def retire_client_secret(
    client: Client, pk: int, *, now: datetime | None = None, actor: str = "", caller: Caller = NOBODY
) -> ClientSecret | None:
    """End one secret of a client at once, and let the other be; return it, or None if it had ended already.

    Args:
        client: the client.
        pk: the primary key of the secret.
        now: the present, by default the host's clock.
        actor: who did it, if it was a person: a user name.
        caller: where the request came from.

    Raises:
        OnlySecret: there is no other live secret; nothing was changed.
        TemporarilyUnavailable: the database refused; if a COMMIT broke, the secret may have ended.
    """
    now, using = now or timezone.now(), write_database(Client)

    def write(attempt: int) -> ClientSecret | None:
        with transaction.atomic(using=using):
            # Two operators at once, one for each secret: the second waits here, and finds only one left.
            locked(client.pk, using=using)
            live = live_secrets(client, now=now)
            chosen = next((secret for secret in live if secret.pk == pk), None)
            if chosen is None:
                # An earlier attempt may have ended it although its COMMIT was not confirmed.
                rows = ClientSecret.objects.using(using).filter(pk=pk, client=client, expires_at=now)
                return rows.first() if attempt > 1 else None
            if not any(_lasts(secret, now) for secret in live if secret.pk != pk):
                raise OnlySecret
            chosen.expires_at = now
            chosen.save(using=using, update_fields=["expires_at"])
        return chosen

    retired = retry(write, using=using)
    if retired is not None:
        fields = {"event": "client_secret_retired", "client_id": client.client_id, "actor": actor}
        logger.info("Client %s: secret …%s retired", client.client_id, retired.last_four, extra=fields)
        signals.send_after_commit(
            signals.client_secret_retired,
            sender=Client,
            using=using,
            client=client,
            last_four=retired.last_four,
            actor=actor,
            caller=caller,
        )
    return retired


def ending_secret(client: Client, *, now: datetime | None = None) -> ClientSecret | None:
    """Return the only live secret of a client if its end is set: after that all its requests are refused."""
    live = live_secrets(client, now=now)
    return live[0] if len(live) == 1 and live[0].expires_at is not None else None


def _lasts(secret: ClientSecret, now: datetime) -> bool:
    return is_live(secret, after(now, _CLOCKS_DIFFER_BY))
