"""The statements of a refresh: reading the client, the session, or both in one; and the rotation.

Nothing is decided here. What is read of a session before the client is authenticated is looked at after it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db.models import (
    Case,
    CharField,
    DurationField,
    ExpressionWrapper,
    F,
    FilteredRelation,
    Q,
    QuerySet,
    When,
)
from django.db.models.expressions import CombinedExpression

from django_ciam_token.database.clock import DatabaseNow
from django_ciam_token.database.compiled import Columns, Select, Slot, Update
from django_ciam_token.database.retry import LostRace, retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.sessions.liveness import (
    OF_A_CLIENT,
    TokenOfSession,
    is_revoked,
    names_of_token,
    token_of_session,
)

READINGS_OF_A_LAGGING_NODE: Final = 3
"""How often to look for what a genuine token proves to exist."""

# Nothing is decided by them; a receiver of a signal that looks at them has them read.
_NOT_NEEDED: Final = ("rotated_at", "revoked_reason", "last_address", "last_user_agent")
_OF_A_SECRET: Final = ("pk", "secret_digest", "expires_at", "last_used_at")


@dataclass(frozen=True)
class SessionReading:
    """A session as one SELECT saw it."""

    session: RefreshToken
    since_rotation: timedelta | None
    """By the database's clock alone, so that hosts whose clocks differ agree; None before the first."""
    is_stale: bool = False
    """Whether the request has waited since: it must be read again before anything is decided."""


@dataclass(frozen=True)
class StoredSecret:
    """What is stored of a client's secret."""

    pk: int
    digest: str = field(repr=False)
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True)
class ClientReading:
    """A client as one SELECT saw it."""

    client: Client
    secrets: Sequence[StoredSecret]
    session: SessionReading | None = None
    """The session that was asked for with it, if it is one of this client."""
    access_token: TokenOfSession | None = None
    """What decides about the access token that was asked for with it, if its session is this client's."""


def since_rotation(prefix: str = "") -> ExpressionWrapper[CombinedExpression]:
    """Return how long ago a session was rotated, by the database's clock; NULL before the first time."""
    return ExpressionWrapper(DatabaseNow() - F(f"{prefix}rotated_at"), output_field=DurationField())


def read_session(session_id: uuid.UUID, *, using: str) -> SessionReading | None:
    """Read a session and its user, and how long ago it was rotated."""
    rows = _SESSION.rows(using, session_id=session_id)
    return _session(using, rows[0]) if rows else None


def read_client(
    client_id: str, *, using: str, session_id: uuid.UUID | None = None, jti: uuid.UUID | None = None
) -> ClientReading | None:
    """Read a client and its secrets.

    Args:
        client_id: as it was presented; upper and lower case and trailing spaces count.
        using: the alias of the database.
        session_id: of a session to be read as well.
        jti: of an access token of that session; what decides about the token is read instead of the session,
            and of the client no more than that and the client itself need.
    """
    columns = _columns()[0]
    if session_id is None:
        rows = _CLIENT.rows(using, client_id=client_id)
    elif jti is None:
        rows = _CLIENT_AND_SESSION.rows(using, client_id=client_id, session_id=session_id)
    else:
        rows = _CLIENT_AND_TOKEN.rows(using, client_id=client_id, session_id=session_id, jti=jti)
        columns = _columns_of_asking()
    if not rows:
        return None
    of_client, of_secret = len(columns), len(columns) + len(_OF_A_SECRET)
    client = columns.instance(using, rows[0][:of_client])
    # A trailing space is nothing to MariaDB, so what came back is compared once more.
    if client is None or client.client_id != client_id:
        return None
    # A row for each secret, and one if there is none.
    secrets = [StoredSecret(*row[of_client:of_secret]) for row in rows if row[of_client] is not None]
    rest = rows[0][of_secret:]
    if jti is not None and rest:
        token = _token(using, rest, client=client)
        return ClientReading(client=client, secrets=secrets, access_token=token)
    return ClientReading(client=client, secrets=secrets, session=_session(using, rest) if rest else None)


def find_session(session_id: uuid.UUID) -> SessionReading | None:
    """Read the session of a genuine token, more than once if it is not there; None if it is gone.

    In a multi-primary cluster a session that began a moment ago may not have reached the node that is asked.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    using = write_database(RefreshToken)

    def read(attempt: int) -> SessionReading | None:
        reading = read_session(session_id, using=using)
        if reading is None and attempt < READINGS_OF_A_LAGGING_NODE:
            raise LostRace
        return reading

    return retry(read, using=using)


def rotate_row(
    using: str, *, session_id: uuid.UUID, expected: int, judged_auth_hash: str, **changes: Any
) -> bool:
    """Write a rotation, unless another request rotated or revoked the session since it was read.

    Args:
        using: the alias of the database.
        session_id: whose row it is.
        expected: the generation that the row must still have.
        judged_auth_hash: what the row had as ``session_auth_hash`` when the session was judged.
        changes: the new values of all columns that a rotation writes, but for ``rotated_at``.
    """
    slots = {"session_id": session_id, "expected": expected, "judged_auth_hash": judged_auth_hash, **changes}
    return _ROTATE.run(using, **slots) == 1


@cache
def _columns_of_asking() -> Columns[Client]:
    return Columns.only(Client, (*OF_A_CLIENT, "may_introspect"))


@cache
def _columns() -> tuple[Columns[Client], Columns[RefreshToken], Columns[Any]]:
    # Of a user all: what a site's own functions look at must not cost a statement more.
    return Columns(Client), Columns(RefreshToken, without=_NOT_NEEDED), Columns(get_user_model())


def _session(using: str, values: Sequence[Any]) -> SessionReading | None:
    _, columns, user_columns = _columns()
    end, end_of_user = len(columns), len(columns) + len(user_columns)
    session = columns.instance(using, values[:end])
    if session is None:
        return None
    user = user_columns.instance(using, values[end:end_of_user])
    [since_rotation] = values[end_of_user:]
    RefreshToken._meta.get_field("user").set_cached_value(session, user)
    return SessionReading(session=session, since_rotation=since_rotation)


def _token(using: str, values: Sequence[Any], *, client: Client) -> TokenOfSession | None:
    session_id, *of_token = values
    return None if session_id is None else token_of_session(using, of_token, client=client)


def _of_client() -> QuerySet[Any]:
    rows = Client.objects.filter(client_id=Slot("client_id"))
    return rows.order_by()


def _names_of_client(columns: Columns[Client]) -> list[str]:
    return [*columns.names(), *(f"secrets__{name}" for name in _OF_A_SECRET)]


def _names_of_session(prefix: str = "") -> list[str]:
    _, columns, user_columns = _columns()
    return [*columns.names(prefix), *user_columns.names("owner__"), "since_rotation"]


def _owner(prefix: str = "") -> FilteredRelation:
    """Join the user in such a way that Django reads its key from its own table.

    It would take the session's reference for it, and a user that is gone for one with nothing but a key.
    """
    return FilteredRelation(f"{prefix}user")


def _select_client() -> QuerySet[Any, Any]:
    return _of_client().values_list(*_names_of_client(_columns()[0]))


def _select_session() -> QuerySet[Any, Any]:
    rows = RefreshToken.objects.filter(pk=Slot("session_id", RefreshToken._meta.pk))
    rows = rows.annotate(owner=_owner(), since_rotation=since_rotation())
    return rows.values_list(*_names_of_session())


def _presented() -> FilteredRelation:
    return FilteredRelation(
        "refresh_tokens", condition=Q(refresh_tokens__pk=Slot("session_id", RefreshToken._meta.pk))
    )


def _select_client_and_session() -> QuerySet[Any, Any]:
    rows = _of_client().annotate(
        presented=_presented(),
        owner=_owner("presented__"),
        since_rotation=since_rotation("presented__"),
    )
    selected: QuerySet[Any, Any] = rows.values_list(
        *_names_of_client(_columns()[0]), *_names_of_session("presented__")
    )
    return selected


def _select_client_and_token() -> QuerySet[Any, Any]:
    rows = _of_client().annotate(
        presented=_presented(), owner=_owner("presented__"), token_revoked=is_revoked()
    )
    selected: QuerySet[Any, Any] = rows.values_list(
        *_names_of_client(_columns_of_asking()), "presented__pk", *names_of_token("presented__")
    )
    return selected


def _rows_to_rotate() -> tuple[QuerySet[Any], dict[str, Any]]:
    field = RefreshToken._meta.get_field
    rows = RefreshToken.objects.filter(
        pk=Slot("session_id", RefreshToken._meta.pk),
        generation=Slot("expected", field("generation")),
        revoked_at=None,
    )
    # None of these may be part of an index.
    converted = {name: Slot(name, field(name)) for name in ("generation", "expires_at")}
    as_they_are = {name: Slot(name) for name in _OF_THE_DRIVER}
    return rows, {
        "rotated_at": DatabaseNow(),
        "session_auth_hash": _auth_hash_unless_carried_over(),
        **converted,
        **as_they_are,
    }


def _auth_hash_unless_carried_over() -> Case:
    """Leave what an upgrade of the password hash wrote since the session was read.

    The new hash of this request is that of the user as it was read: written over the other, the next refresh
    would find another password.
    """
    is_as_judged = When(session_auth_hash=Slot("judged_auth_hash"), then=Slot("session_auth_hash"))
    return Case(is_as_judged, default=F("session_auth_hash"), output_field=CharField())


# Strings and bytes, and an address that `Caller` has parsed: their fields would only look at them again.
_OF_THE_DRIVER: Final = ("secret_digest", "nonce", "last_address", "last_user_agent")
_CLIENT: Final = Select(_select_client)
_SESSION: Final = Select(_select_session)
_CLIENT_AND_SESSION: Final = Select(_select_client_and_session)
_CLIENT_AND_TOKEN: Final = Select(_select_client_and_token)
_ROTATE: Final = Update(_rows_to_rotate)
