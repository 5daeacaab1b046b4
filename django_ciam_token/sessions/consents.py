"""What a user allowed an application: whether it is enough, and taking it back."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from django_ciam_token import scopes, signals
from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.database.retry import read_rows, retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client, Consent, RevocationReason
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.sessions.revocation import revoke_sessions

logger = logging.getLogger("django_ciam_token")


def has_consent(*, user_id: Any, client: Client, scope: tuple[str, ...]) -> bool:
    """Tell whether a client may have this scope: it need not ask, or the user has allowed all of it.

    Args:
        user_id: the primary key of the user.
        client: the application.
        scope: what it would get.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    if not client.asks_consent:
        return True
    rows = Consent.objects.using(write_database(Consent)).filter(client=client, user_id=user_id)
    return any(scopes.is_within(scope, consent.scopes) for consent in read_rows(rows))


def withdraw_consent(
    *,
    user: AbstractBaseUser,
    client: Client,
    reason: RevocationReason = RevocationReason.CONSENT,
    actor: str = "",
    caller: Caller = NOBODY,
) -> bool:
    """Take back what a user allowed a client, and end the user's sessions there.

    The application has to ask again. Safe to repeat after an error: the consent goes when the sessions are
    over.

    Args:
        user: whose consent it is.
        client: which application it was given to.
        reason: why the sessions end, for users and operators.
        actor: who did it, if it was an operator: a user name.
        caller: where the request came from.

    Returns:
        Whether there was a consent.

    Raises:
        TemporarilyUnavailable: the database refused; some sessions may have ended.
    """
    using = write_database(Consent)
    rows = Consent.objects.using(using).filter(user_id=user.pk, client=client)
    criteria = SessionCriteria(user=user, client=client)
    scope: str | None = None

    def end_sessions() -> None:
        revoke_sessions(criteria, reason=reason, actor=actor, caller=caller)

    def delete(attempt: int) -> str | None:
        nonlocal scope
        with transaction.atomic(using=using):
            found = rows.values_list("scope", flat=True).first()
            # After a COMMIT whose outcome is unknown it may be gone already.
            scope = scope if found is None else found
            return scope if rows.delete()[0] or attempt > 1 else None

    end_sessions()
    withdrawn = retry(delete, using=using)
    if withdrawn is None:
        return False
    # One that began between the two, with the consent that was still there.
    end_sessions()
    fields = {"client_id": client.client_id, "actor": actor}
    logger.info("Consent withdrawn from %s", client.client_id, extra={"event": "consent_withdrawn", **fields})
    signals.send_after_commit(
        signals.consent_withdrawn,
        sender=Consent,
        using=using,
        client=client,
        user=user,
        scope=tuple(withdrawn.split()),
        actor=actor,
        caller=caller,
    )
    return True
