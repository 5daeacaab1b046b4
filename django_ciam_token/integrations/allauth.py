"""The identity provider of django-allauth (``allauth.idp.oidc``): its clients, and its refresh tokens.

It stores a hash of each token, and deletes the row when the token is rotated or revoked: about older tokens
it can say nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any, Final

from django.apps import apps
from django.db.models import Q, QuerySet
from django.utils import timezone

from django_ciam_token.clients.importing import ForeignClient, application_type
from django_ciam_token.concealed import Concealed
from django_ciam_token.database.retry import in_key_order, read_rows
from django_ciam_token.database.routing import write_database
from django_ciam_token.sessions.foreign import EndedToken, ForeignIdentity, LiveToken, sign_in_time

_APP: Final = "allauth.idp.oidc"
_CLIENTS_AT_ONCE: Final = 500
_COLUMNS: Final = (
    "pk", "hash", "client_id", "user_id", "scopes", "created_at", "expires_at", "user__last_login"
)  # fmt: skip


class Allauth:
    """Allauth's tokens, by the hash that its adapter makes of them: a SHA-256, unless a site overrides it."""

    def identify(self, text: Concealed) -> ForeignIdentity:
        """Recognise a string: any, because a site chooses how its tokens look."""
        hashed = text.lend(_hash_token())
        secret = text.reveal().encode("utf-8", "surrogatepass") if _is_sha256() else hashed.encode()
        return ForeignIdentity(known_by=hashed.encode(), secret=secret)

    def is_consulted(self) -> bool:
        """Tell whether allauth's tables are there."""
        return apps.is_installed(_APP)

    def find(self, identity: ForeignIdentity) -> LiveToken | EndedToken | None:
        """Look a token up in allauth's table."""
        if not self.is_consulted():
            return None
        # Compared once more: MariaDB ignores upper and lower case, which the hash of a site may have.
        hashed = identity.known_by.decode()
        found = [row for row in read_rows(_rows().filter(hash=hashed)) if row["hash"] == hashed]
        if not found:
            return None
        token = _token(found[0])
        is_over = token.expires_at is not None and token.expires_at <= timezone.now()
        return EndedToken(at=token.expires_at) if is_over else token

    def problem(self) -> str:
        """Say why nothing can be imported; empty if it can."""
        return "" if self.is_consulted() else f"{_APP} is not in INSTALLED_APPS"

    def scopes(self) -> Iterable[str]:
        """Return the names of all scopes that its clients may be granted."""
        return {name for client in self.clients() for name in client.scope}

    def clients(self) -> Iterator[ForeignClient]:
        """Return allauth's clients."""
        from allauth.idp.oidc.models import Client

        rows = Client._default_manager.using(write_database(Client))
        for read in in_key_order(rows, _CLIENTS_AT_ONCE, key=attrgetter("pk")):
            yield from map(_client, read)

    def live_tokens(
        self, *, batch_size: int, client_id: str | None, since: datetime | None
    ) -> Iterator[Sequence[LiveToken]]:
        """Return the live refresh tokens in batches; see `Source`."""
        rows = _rows()
        if client_id is not None:
            rows = rows.filter(client_id=client_id)
        if since is not None:
            rows = rows.filter(created_at__gte=since)
        for read in in_key_order(rows, batch_size, key=itemgetter("pk")):
            yield [_token(row) for row in read]

    def still_live(self, references: Collection[str]) -> Mapping[str, LiveToken]:
        """Return those of some tokens that are live now, by their references."""
        unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        rows: list[Any] = read_rows(_rows().filter(unexpired, pk__in=list(references)))
        return {token.reference: token for token in map(_token, rows)}


def _rows() -> QuerySet[Any, Any]:
    from allauth.idp.oidc.models import Token

    rows: QuerySet[Any, Any] = Token._default_manager.using(write_database(Token))
    return rows.filter(type=Token.Type.REFRESH_TOKEN).values(*_COLUMNS)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _adapter() -> Any:
    from allauth.idp.oidc.adapter import get_adapter

    return get_adapter()


def _is_sha256() -> bool:
    if not apps.is_installed(_APP):
        return True
    from allauth.idp.oidc.adapter import DefaultOIDCAdapter

    return type(_adapter()).hash_token is DefaultOIDCAdapter.hash_token


def _hash_token() -> Any:
    return _sha256 if _is_sha256() else _adapter().hash_token


def _token(row: Mapping[str, Any]) -> LiveToken:
    from allauth.idp.oidc import app_settings

    hashed: str = row["hash"]
    return LiveToken(
        known_by=hashed.encode(),
        secret_digest=_secret_digest(hashed),
        client_id=row["client_id"] or "",
        user_id=row["user_id"],
        scope=" ".join(row["scopes"].split()),
        auth_time=sign_in_time(
            last_login=row["user__last_login"],
            issued_at=row["created_at"],
            # A rotated token has the time of the rotation.
            otherwise=None if app_settings.ROTATE_REFRESH_TOKEN else row["created_at"],
        ),
        expires_at=row["expires_at"],
        reference=str(row["pk"]),
    )


def _secret_digest(hashed: str) -> bytes:
    """Return the SHA-256 of the secret that `Allauth.identify` finds in a token with this hash."""
    if _is_sha256() and re.fullmatch("[0-9a-f]{64}", hashed):
        return bytes.fromhex(hashed)
    return hashlib.sha256(hashed.encode()).digest()


def _client(client: Any) -> ForeignClient:
    uris, grants = tuple(client.get_redirect_uris()), client.get_grant_types()
    is_confidential = client.type == client.Type.CONFIDENTIAL
    is_machine = grants == [client.GrantType.CLIENT_CREDENTIALS]
    return ForeignClient(
        client_id=client.pk,
        name=client.name,
        application_type=application_type(
            is_confidential=is_confidential, is_machine=is_machine, redirect_uris=uris
        ),
        scope=tuple(client.get_scopes()),
        secret=Concealed(client.secret) if is_confidential and client.secret else None,
        redirect_uris=() if is_machine else uris,
        post_logout_redirect_uris=tuple(client.get_post_logout_redirect_uris()),
        allowed_origins=tuple(client.get_cors_origins()),
        asks_consent=not client.skip_consent,
        may_use_client_credentials=is_confidential and client.GrantType.CLIENT_CREDENTIALS in grants,
        refresh_tokens_enabled=client.GrantType.REFRESH_TOKEN in grants,
    )
