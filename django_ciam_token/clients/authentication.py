"""Client authentication (RFC 6749 §2.3): which client a request is from, and whether that is so."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from django.db.models import Q

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.clients.methods import Credentials
from django_ciam_token.clients.secrets import is_live, is_ours
from django_ciam_token.database.patience import Pause, impatient
from django_ciam_token.database.retry import best_effort, retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidClient
from django_ciam_token.models import Client, ClientSecret
from django_ciam_token.sessions.rows import ClientReading, StoredSecret, read_client

logger = logging.getLogger("django_ciam_token")

UNKNOWN: Final = ""
"""What the failures of all client_ids that do not exist are counted under: no client can have this one."""
_LAST_USE_IS_NOTED_EVERY: Final = timedelta(hours=1)
_not_noted: Final = Pause(60.0)


class Failures(Protocol):
    """The recent failures of one client from one network."""

    def attribute_to(self, client_id: str, *, is_slow: bool) -> None:
        """Say whose failure it would be, and whether a wrong secret of theirs costs a slow hash."""

    def are_too_many(self) -> bool:
        """Tell whether the limit is reached; the same for as long as a request lasts."""


class _NoLimit:
    def attribute_to(self, client_id: str, *, is_slow: bool) -> None:
        """Ignore it."""

    def are_too_many(self) -> bool:
        """Return False."""
        return False


def authenticate(
    credentials: Credentials,
    *,
    session_id: uuid.UUID | None = None,
    jti: uuid.UUID | None = None,
    now: datetime,
    caller: Caller = NOBODY,
    failures: Failures | None = None,
) -> ClientReading:
    """Return the client whose credentials these are, and what was read with it.

    An unknown client costs the same query and the same comparison as a wrong secret, and every failure
    looks the same from outside.

    Args:
        credentials: what the request claims.
        session_id: of a session that the request is going to need if it is authentic; to have it read in the
            statement that reads the client saves one.
        jti: of an access token of that session, of which the request is going to ask whether it is revoked.
        now: the present.
        caller: where the request came from.
        failures: of this client from this network; without, nothing is limited. Past the limit, secrets
            brought from elsewhere, which may be guessable and are slow to check, are not tried, and failures
            are not signalled. It is not asked when a client with a secret of ours succeeds.

    Raises:
        InvalidClient: they are wrong; the reason is logged and signalled.
        TemporarilyUnavailable: the database refused.
    """
    failures = failures or _NoLimit()
    using = write_database(Client)
    reading = retry(
        lambda _: read_client(credentials.client_id, using=using, session_id=session_id, jti=jti), using=using
    )
    imported = [] if reading is None else [stored for stored in reading.secrets if not is_ours(stored)]
    failures.attribute_to(
        UNKNOWN if reading is None else reading.client.client_id,
        is_slow=any(is_live(stored, now) for stored in imported),
    )
    outcome = credentials.method.check(
        credentials, reading, now=now, may_guess=lambda: not failures.are_too_many()
    )
    if reading is not None and outcome.failure is None:
        has_waited = outcome.secret is not None and _note_use(outcome.secret, now)
        if not imported and not has_waited:
            return reading
        # A password hash, or a lock, takes so long that what was read of the session may have changed.
        stale = reading.session and replace(reading.session, is_stale=True)
        return replace(reading, session=stale, access_token=None)
    _report(reading, str(outcome.failure), caller, is_signalled=not failures.are_too_many())
    raise InvalidClient(reason=str(outcome.failure))


def _report(reading: ClientReading | None, reason: str, caller: Caller, *, is_signalled: bool) -> None:
    # What an unknown client sent as its name might be anything, a secret in the wrong field included.
    known = None if reading is None else reading.client.client_id
    logger.warning(
        "Client authentication failed for %s: %s",
        known or "an unknown client_id",
        reason,
        extra={"event": "client_authentication_failed", "client_id": known, "reason": reason},
    )
    if is_signalled:
        # Otherwise anybody could fill the audit trail.
        signals.send_after_commit(
            signals.client_authentication_failed,
            sender=Client,
            using=write_database(Client),
            client_id=known,
            reason=reason,
            caller=caller,
        )


def _note_use(secret: StoredSecret, now: datetime) -> bool:
    """Write down that a secret is in use, so that an operator sees whether a replaced one still is.

    At most once an hour for each secret. A refresh neither waits for it nor fails if it can't be written.
    Tells whether it tried to write, and so may have waited for a moment.
    """
    if secret.last_used_at is not None and now - secret.last_used_at < _LAST_USE_IS_NOTED_EVERY:
        return False
    if not _not_noted.is_over():
        return False
    using = write_database(Client)
    message, event = "The use of a client secret could not be noted: %s", "client_secret_use_not_noted"
    # While it is tried, and for a while if that was in vain, no other request tries.
    _not_noted.begin()
    write = partial(_write_use, secret, now, using=using)
    best_effort(write, message, using=using, within=impatient, event=event)
    return True


def _write_use(secret: StoredSecret, now: datetime, *, using: str) -> None:
    is_due = Q(last_used_at=None) | Q(last_used_at__lte=now - _LAST_USE_IS_NOTED_EVERY)
    rows = ClientSecret.objects.using(using).filter(is_due, pk=secret.pk)
    # Of many requests at once, one writes: the condition is part of the UPDATE.
    if rows.update(last_used_at=now):
        _not_noted.end()
