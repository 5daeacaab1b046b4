"""django-oauth-toolkit (3.3 or newer): its applications, and its refresh tokens.

The toolkit marks a refresh token as revoked when it is rotated, and keeps the row for a while. Tokens of one
sign-in have the same ``token_family``. A token's scope and expiry are those of its access token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any, Final

from django.apps import apps
from django.db.models import F, Min, QuerySet
from django.utils import timezone

from django_ciam_token.clients.importing import ForeignClient, application_type
from django_ciam_token.concealed import Concealed
from django_ciam_token.database.retry import in_key_order, read_rows
from django_ciam_token.database.routing import write_database
from django_ciam_token.sessions.foreign import EndedToken, ForeignIdentity, LiveToken, sign_in_time

_APP: Final = "oauth2_provider"
_CLIENTS_AT_ONCE: Final = 500
_COLUMNS: Final = (
    "pk",
    "revoked",
    "token",
    "application__client_id",
    "user_id",
    "access_token_id",
    "access_token__scope",
    "access_token__expires",
    "created",
    "token_family",
    "user__last_login",
)


class Toolkit:
    """The toolkit's tokens, by the SHA-256 of which it looks them up itself."""

    def identify(self, text: Concealed) -> ForeignIdentity:
        """Recognise a string: any, because a site chooses how its tokens look."""
        secret = text.reveal().encode("utf-8", "surrogatepass")
        return ForeignIdentity(known_by=hashlib.sha256(secret).digest(), secret=secret)

    def is_consulted(self) -> bool:
        """Tell whether the toolkit's tables are there."""
        return apps.is_installed(_APP)

    def find(self, identity: ForeignIdentity) -> LiveToken | EndedToken | None:
        """Look a token up in the toolkit's table."""
        if not self.is_consulted():
            return None
        rows = _rows(_refresh_tokens())
        # As the toolkit does: of several rows the one that is not revoked, else the one revoked last.
        rows = rows.order_by(F("revoked").desc(nulls_first=True))
        if _has_checksums():
            rows = rows.filter(token_checksum=identity.known_by.hex())
        else:
            # PostgreSQL refuses NUL; a token that has it is then not found, as it should be.
            rows = rows.filter(token=identity.secret.decode("utf-8", "replace").replace("\0", ""))
        # Without checksums MariaDB ignores upper and lower case.
        found = [row for row in read_rows(rows) if _digest(row) == identity.known_by]
        return _judged(found[0]) if found else None

    def problem(self) -> str:
        """Say why nothing can be imported; empty if it can."""
        return "" if self.is_consulted() else f"{_APP} is not in INSTALLED_APPS"

    def scopes(self) -> Iterable[str]:
        """Return the names of all scopes that the toolkit grants."""
        from oauth2_provider.scopes import get_scopes_backend

        names: Iterable[str] = get_scopes_backend().get_all_scopes()
        return names

    def clients(self) -> Iterator[ForeignClient]:
        """Return the toolkit's applications."""
        from oauth2_provider.models import get_application_model

        model = get_application_model()
        rows = model._default_manager.using(write_database(model))
        for read in in_key_order(rows, _CLIENTS_AT_ONCE, key=attrgetter("pk")):
            yield from map(_client, read)

    def live_tokens(
        self, *, batch_size: int, client_id: str | None, since: datetime | None
    ) -> Iterator[Sequence[LiveToken]]:
        """Return the live refresh tokens in batches; see `Source`."""
        rows = _rows(_refresh_tokens()).filter(revoked=None)
        if client_id is not None:
            rows = rows.filter(application__client_id=client_id)
        if since is not None:
            rows = rows.filter(created__gte=since)
        for read in in_key_order(rows, batch_size, key=itemgetter("pk")):
            # Also those that have expired: they are counted.
            yield _tokens(read)

    def still_live(self, references: Collection[str]) -> Mapping[str, LiveToken]:
        """Return those of some tokens that are live now, by their references."""
        rows: list[Any] = read_rows(_rows(_refresh_tokens()).filter(revoked=None, pk__in=list(references)))
        return {token.reference: token for token in _live(rows)}


def _refresh_tokens() -> Any:
    from oauth2_provider.models import get_refresh_token_model

    return get_refresh_token_model()


def _has_checksums() -> bool:
    return any(field.name == "token_checksum" for field in _refresh_tokens()._meta.get_fields())


def _rows(model: Any) -> QuerySet[Any, Any]:
    columns = (*_COLUMNS, "token_checksum") if _has_checksums() else _COLUMNS
    rows: QuerySet[Any, Any] = model._default_manager.using(write_database(model)).values(*columns)
    return rows


def _digest(row: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of a token; its text is empty if the site keeps only the checksum."""
    if row.get("token_checksum"):
        return bytes.fromhex(row["token_checksum"])
    return hashlib.sha256(row["token"].encode()).digest()


def _judged(row: Mapping[str, Any]) -> LiveToken | EndedToken:
    if row["revoked"] is not None:
        return EndedToken(at=row["revoked"], current=_current_of(row))
    live = _live([row])
    return live[0] if live else EndedToken(at=_expiry(row))


def _current_of(row: Mapping[str, Any]) -> LiveToken | None:
    """Return the live token of the sign-in that a revoked token belongs to."""
    if row["token_family"] is None:
        return None
    family = _rows(_refresh_tokens()).filter(
        token_family=row["token_family"],
        application__client_id=row["application__client_id"],
        user_id=row["user_id"],
        revoked=None,
    )
    live = _live(read_rows(family.order_by("-pk")[:1]))
    return live[0] if live else None


def _live(rows: Sequence[Mapping[str, Any]]) -> list[LiveToken]:
    """Return those of some rows that were not revoked, did not expire, and have a scope."""
    now = timezone.now()
    return _tokens([row for row in rows if row["access_token_id"] is not None and not _is_over(row, now)])


def _tokens(rows: Sequence[Mapping[str, Any]]) -> list[LiveToken]:
    signed_in = _first_issued({row["token_family"] for row in rows} - {None})
    return [
        LiveToken(
            known_by=_digest(row),
            secret_digest=_digest(row),
            client_id=row["application__client_id"],
            user_id=row["user_id"],
            # Without its access token it has no scope, and the toolkit refuses it.
            scope=" ".join((row["access_token__scope"] or "").split()),
            auth_time=sign_in_time(
                last_login=row["user__last_login"],
                issued_at=row["created"],
                otherwise=signed_in.get(row["token_family"], row["created"]),
            ),
            expires_at=_expiry(row),
            # It depends on a setting, and a token that is not rotated lives longer with each use.
            is_expiry_final=False,
            reference=str(row["pk"]),
        )
        for row in rows
    ]


def _is_over(row: Mapping[str, Any], now: datetime) -> bool:
    expiry = _expiry(row)
    return expiry is not None and expiry <= now


def _expiry(row: Mapping[str, Any]) -> datetime | None:
    """Return when a token ends: some time after its access token, or never."""
    after = _settings().REFRESH_TOKEN_EXPIRE_SECONDS
    if not after or row["access_token__expires"] is None:
        return None
    expires: datetime = row["access_token__expires"]
    return expires + (after if isinstance(after, timedelta) else timedelta(seconds=after))


def _first_issued(families: Collection[Any]) -> dict[Any, datetime]:
    """Return when the first token of each sign-in was issued, as far back as the table goes."""
    model = _refresh_tokens()
    rows = model._default_manager.using(write_database(model)).filter(token_family__in=list(families))
    pairs = rows.order_by().values_list("token_family").annotate(first=Min("created"))
    return dict(read_rows(pairs)) if families else {}


def _client(application: Any) -> ForeignClient:
    from oauth2_provider.scopes import get_scopes_backend

    uris = tuple(application.redirect_uris.split())
    is_confidential = application.client_type == application.CLIENT_CONFIDENTIAL
    grant, machine = application.authorization_grant_type, application.GRANT_CLIENT_CREDENTIALS
    kind = application_type(is_confidential=is_confidential, is_machine=grant == machine, redirect_uris=uris)
    secret = application.client_secret if is_confidential else ""
    needs_pkce = _settings().PKCE_REQUIRED
    return ForeignClient(
        client_id=application.client_id,
        name=application.name,
        application_type=kind,
        scope=tuple(get_scopes_backend().get_available_scopes(application=application)),
        secret=Concealed(secret) if secret else None,
        is_secret_hashed=getattr(application, "hash_client_secret", True),
        redirect_uris=() if grant == machine else uris,
        post_logout_redirect_uris=tuple(application.post_logout_redirect_uris.split()),
        allowed_origins=tuple(application.allowed_origins.split()),
        asks_consent=not application.skip_authorization,
        requires_pkce=bool(needs_pkce(application.client_id) if callable(needs_pkce) else needs_pkce),
        remarks=tuple(_remarks(application)),
    )


def _remarks(application: Any) -> Iterator[str]:
    if application.algorithm == application.HS256_ALGORITHM:
        yield "its id_tokens were signed with its secret (HS256); from now on with a key of the JWK Set"
    if application.authorization_grant_type == application.GRANT_PASSWORD:
        yield "it signed users in with their passwords, which is not served here"


def _settings() -> Any:
    from oauth2_provider.settings import oauth2_settings

    return oauth2_settings
