"""Making sessions of tokens that another package issued: at their first use, or many at once.

The session begins at a generation of its own, and its current secret is what the token's holder has. From
then on it is like any other: the first refresh is the same conditional UPDATE, with the same answer for two
tabs.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction

from django_ciam_token.crypto import refresh_token_string
from django_ciam_token.database.retry import LostRace, read_rows, retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import ApplicationType, Client, ForeignToken, RefreshToken
from django_ciam_token.sessions.auth_hash import session_auth_hash
from django_ciam_token.sessions.foreign import LiveToken, key_of

logger = logging.getLogger("django_ciam_token")

FIRST_GENERATION: Final = 2
"""Of an adopted session. There is room below it for what was superseded before."""
SUPERSEDED_GENERATION: Final = 0
"""Of any token that the other package superseded: older than the predecessor, so that it is a reuse."""
_LONGEST: Final = timedelta(days=3650)


@dataclass
class Adoption:
    """What became of some tokens."""

    sessions: dict[uuid.UUID, uuid.UUID] = field(default_factory=dict)
    """The sessions of those that are known now, by the keys of the tokens."""
    made: list[RefreshToken] = field(default_factory=list)
    """The sessions that were made just now."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many were left out, and why."""
    shortened: int = 0
    """How many of those made end earlier than in the other system: ``SESSION_LIFETIME`` is shorter."""


def adopt(
    tokens: Sequence[LiveToken],
    *,
    name: str,
    clients: Mapping[str, Client],
    now: datetime,
    dry_run: bool = False,
) -> Adoption:
    """Make sessions of those tokens that are none yet; safe to repeat, and to run twice at the same time.

    Args:
        tokens: at most as many as fit into one statement.
        name: of their format.
        clients: by client_id; tokens of any other client are left out.
        now: the present.
        dry_run: make nothing, and say what would be made.

    Raises:
        TemporarilyUnavailable: the database refused; nothing was made.
    """
    by_key = {key_of(name, token.known_by): token for token in tokens}
    using = write_database(RefreshToken)

    def write(attempt: int) -> Adoption:
        adoption = Adoption(sessions=session_ids(by_key, using=using))
        fresh = {key: token for key, token in by_key.items() if key not in adoption.sessions}
        # Users are read each time.
        here = clients if attempt == 1 or dry_run else _still_here(clients, of=tokens, using=using)
        sessions = _sessions(fresh, here, adoption, now=now, using=using)
        if dry_run:
            adoption.made += sessions.values()
        elif sessions:
            rows = [
                _row(key, fresh[key], session, client=clients[fresh[key].client_id], name=name)
                for key, session in sessions.items()
            ]
            _save(rows, sessions, adoption, using=using)
        return adoption

    return retry(write, using=using)


def adopt_one(token: LiveToken, *, name: str, now: datetime) -> uuid.UUID | None:
    """Make a session of one token, unless it is one already; None if it can't be."""
    using = write_database(Client)
    clients = {client.client_id: client for client in _named(token.client_id, using=using)}
    adoption = adopt([token], name=name, clients=clients, now=now)
    for reason in adoption.left_out:
        logger.info(
            "A token of %s can't be taken over: %s",
            name,
            reason,
            extra={"event": "not_adopted", "reason": reason},
        )
    for session in adoption.made:
        fields = {"session_id": str(session.pk), "client_id": token.client_id, "format": name}
        logger.info("Session %s taken over from %s", session.pk, name, extra={"event": "adopted", **fields})
    return adoption.sessions.get(key_of(name, token.known_by))


def extend(sessions: Iterable[tuple[RefreshToken, LiveToken]]) -> None:
    """Let sessions that were not refreshed yet last as long as their tokens do in the other system.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    longer = [
        (session, token.expires_at)
        for session, token in sessions
        if not token.is_expiry_final and token.expires_at and token.expires_at > session.expires_at
    ]
    if not longer:
        return
    using = write_database(RefreshToken)
    ids = {session.client_id for session, _ in longer}
    clients = {client.pk: client for client in read_rows(Client.objects.using(using).filter(pk__in=ids))}
    # A client that is deleted meanwhile takes its sessions with it.
    still_here = [(session, end) for session, end in longer if session.client_id in clients]
    extended = []
    for session, expires_at in still_here:
        before, session.expires_at = session.expires_at, expires_at
        session.expires_at = session.ends_at(clients[session.client_id])
        if session.expires_at > before:
            extended.append(session)
    rows = RefreshToken.objects.using(using).filter(generation=FIRST_GENERATION, revoked_at=None)
    retry(lambda _: rows.bulk_update(extended, ["expires_at"]), using=using)


def session_ids(keys: Mapping[uuid.UUID, object], *, using: str) -> dict[uuid.UUID, uuid.UUID]:
    """Return the sessions of those tokens that have become one, by the tokens' keys."""
    rows = ForeignToken.objects.using(using).filter(pk__in=list(keys))
    return dict(rows.values_list("pk", "session_id"))


def _named(client_id: str, *, using: str) -> list[Client]:
    found = Client.objects.using(using).filter(client_id=client_id)
    # A trailing space is nothing to MariaDB.
    return [client for client in found if client.client_id == client_id]


def _still_here(clients: Mapping[str, Client], *, of: Collection[LiveToken], using: str) -> dict[str, Client]:
    """Return those clients of some tokens that were not deleted since they were read."""
    theirs = {name: clients[name] for name in {token.client_id for token in of} & clients.keys()}
    found = Client.objects.using(using).filter(pk__in=[client.pk for client in theirs.values()])
    kept = set(found.values_list("pk", flat=True))
    return {name: client for name, client in theirs.items() if client.pk in kept}


def _sessions(
    tokens: Mapping[uuid.UUID, LiveToken],
    clients: Mapping[str, Client],
    adoption: Adoption,
    *,
    now: datetime,
    using: str,
) -> dict[uuid.UUID, RefreshToken]:
    ids = {token.user_id for token in tokens.values() if token.user_id is not None}
    users = get_user_model()._base_manager.using(using).in_bulk(ids)
    sessions = {}
    for key, token in tokens.items():
        user = users.get(token.user_id)
        reason = _reason_against(token, clients.get(token.client_id), user, now=now)
        if reason:
            adoption.left_out[reason] += 1
        else:
            sessions[key] = _session(token, clients[token.client_id], user, now=now)
            adoption.shortened += token.expires_at is None or sessions[key].expires_at < token.expires_at
    return sessions


def _reason_against(
    token: LiveToken, client: Client | None, user: AbstractBaseUser | None, *, now: datetime
) -> str:
    if client is None:
        return "its client is not here"
    if client.application_type == ApplicationType.M2M:
        return "its client is a machine, which has no users"
    if user is None:
        return "its user is gone"
    if not token.scope:
        return "it has no scope"
    if token.expires_at is not None and token.expires_at <= now:
        return "it has expired"
    return ""


def _session(token: LiveToken, client: Client, user: Any, *, now: datetime) -> RefreshToken:
    lifetime = client.effective_session_lifetime
    latest = now + (_LONGEST if lifetime is None else lifetime)
    return RefreshToken(
        client_id=client.pk,
        user_id=user.pk,
        scope=token.scope,
        generation=FIRST_GENERATION,
        secret_digest=token.secret_digest,
        nonce=refresh_token_string.new_nonce(),
        session_auth_hash=session_auth_hash(user),
        auth_time=token.auth_time,
        # Not when the user signed in: nobody shall be signed out by a SESSION_LIFETIME that is new to them.
        issued_at=now,
        expires_at=latest if token.expires_at is None else min(token.expires_at, latest),
    )


def _row(
    key: uuid.UUID, token: LiveToken, session: RefreshToken, *, client: Client, name: str
) -> ForeignToken:
    lifetime, needed_until = client.effective_session_lifetime, None
    if lifetime is not None and token.expires_at is not None and token.is_expiry_final:
        needed_until = max(token.expires_at, session.issued_at + lifetime)
    return ForeignToken(
        key=key, session_id=session.pk, format=name, reference=token.reference, needed_until=needed_until
    )


def _save(
    rows: Sequence[ForeignToken],
    sessions: Mapping[uuid.UUID, RefreshToken],
    adoption: Adoption,
    *,
    using: str,
) -> None:
    """Insert them. Of several requests that do so at the same time, one has its session made."""
    try:
        with transaction.atomic(using=using):
            # Waits for other transactions that are inserting the same keys. What they inserted is then seen
            # below: this is the first statement of the transaction, so even MariaDB has no snapshot yet.
            ForeignToken.objects.using(using).bulk_create(rows, ignore_conflicts=True)
            kept = session_ids(sessions, using=using)
            made = [session for key, session in sessions.items() if kept.get(key) == session.pk]
            RefreshToken.objects.using(using).bulk_create(made)
    except IntegrityError:
        # A user or a client was deleted since it was read.
        raise LostRace from None
    adoption.sessions |= kept
    adoption.made += made
