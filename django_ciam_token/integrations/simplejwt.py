"""djangorestframework-simplejwt (5.4 or newer): its refresh tokens, which are JWTs.

It knows neither clients nor scopes: the setting says which client its tokens belong to. Its blacklist app
stores each token and which of them were ended. Without that app it stores nothing: a token is then verified
by its signature, and becomes a session at its first use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from datetime import timezone as datetime_timezone
from operator import attrgetter
from typing import Any, Final

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone
from django.utils.timezone import make_naive

from django_ciam_token.clients.importing import ForeignClient
from django_ciam_token.concealed import Concealed
from django_ciam_token.crypto import foreign_jwt
from django_ciam_token.crypto.jose import NotVerified
from django_ciam_token.database.retry import in_key_order, read_rows
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client
from django_ciam_token.sessions.foreign import EndedToken, ForeignIdentity, LiveToken, sign_in_time

_BLACKLIST: Final = "rest_framework_simplejwt.token_blacklist"


@dataclass(frozen=True, kw_only=True)
class JWTIdentity(ForeignIdentity):
    """A JWT whose signature was verified."""

    claims: Mapping[str, Any] = field(repr=False)


class SimpleJWT:
    """Refresh tokens of simplejwt.

    Args:
        client_id: of the client whose tokens they are; only that client may use them.
        scope: what they are worth, names separated by spaces; all that the client is allowed if empty.
    """

    def __init__(self, *, client_id: str, scope: str = "") -> None:
        self._client_id = client_id
        self._scope = scope

    def identify(self, text: Concealed) -> JWTIdentity | None:
        """Recognise a string by its signature.

        A JWT has several spellings: some algorithms have more than one signature for the same content, and
        base64url more than one text for a signature. What was signed is the same in all of them.
        """
        if text.reveal().count(".") != 2:
            return None
        claims = text.lend(_verified)
        if claims is None or not _is_refresh_token(claims):
            return None
        signed = text.reveal().rpartition(".")[0].encode()
        jti = claims.get(_settings().JTI_CLAIM) if _settings().JTI_CLAIM else None
        known_by = signed if jti is None else str(jti).encode()
        return JWTIdentity(known_by=known_by, secret=signed, claims=claims)

    def is_consulted(self) -> bool:
        """Tell whether it can be asked: the token itself always says something."""
        return True

    def find(self, identity: ForeignIdentity) -> LiveToken | EndedToken | None:
        """Judge a token by its claims, and by the blacklist if there is one."""
        if not isinstance(identity, JWTIdentity):
            return None
        now = timezone.now()
        if has_blacklist():
            rows = _outstanding().filter(jti=identity.known_by.decode(errors="replace"))
            ended = read_rows(
                rows.exclude(blacklistedtoken=None).values_list("blacklistedtoken__blacklisted_at")
            )
            if ended:
                return EndedToken(at=ended[0][0])
        user = _user(identity.claims)
        if user is None:
            return None
        token = self._token(identity, user=user, scope=self._granted(), reference="")
        is_over = token.expires_at is not None and token.expires_at <= now
        return EndedToken(at=token.expires_at) if is_over else token

    def problem(self) -> str:
        """Say why nothing can be imported; empty if it can."""
        if not has_blacklist():
            return (
                f"{_BLACKLIST} is not in INSTALLED_APPS: simplejwt stores no tokens, so there is nothing to "
                "import. Each becomes a session at its first use."
            )
        return "" if self._granted() else f"There is no client {self._client_id!r}, or it has no scope."

    def scopes(self) -> Iterable[str]:
        """Return the names of the scopes that the tokens are worth."""
        return self._scope.split()

    def clients(self) -> Iterator[ForeignClient]:
        """Return none: simplejwt knows no clients."""
        return iter(())

    def live_tokens(
        self, *, batch_size: int, client_id: str | None, since: datetime | None
    ) -> Iterator[Sequence[LiveToken]]:
        """Return the live refresh tokens in batches; see `Source`."""
        rows = _outstanding().filter(blacklistedtoken=None).select_related("user")
        if since is not None:
            rows = rows.filter(created_at__gte=since)
        for read in in_key_order(rows, batch_size, key=attrgetter("pk")):
            yield list(self._tokens(read))

    def still_live(self, references: Collection[str]) -> Mapping[str, LiveToken]:
        """Return those of some tokens that are live now, by their references."""
        unexpired = Q(blacklistedtoken=None, expires_at__gt=timezone.now())
        rows = read_rows(_outstanding().filter(unexpired, pk__in=list(references)).select_related("user"))
        return {token.reference: token for token in self._tokens(rows)}

    def _tokens(self, rows: Sequence[Any]) -> Iterator[LiveToken]:
        scope = self._granted()
        for row in rows:
            identity = self.identify(Concealed(row.token))
            # Sliding tokens, and what another key has signed, are not refresh tokens.
            if identity is not None:
                yield self._token(identity, user=row.user, scope=scope, reference=str(row.pk))

    def _token(self, identity: JWTIdentity, *, user: Any, scope: str, reference: str) -> LiveToken:
        claims = identity.claims
        issued_at = _instant(claims.get("iat"))
        return LiveToken(
            known_by=identity.known_by,
            secret_digest=hashlib.sha256(identity.secret).digest(),
            client_id=self._client_id,
            user_id=None if user is None or not _has_same_password(claims, user) else user.pk,
            scope=scope,
            auth_time=sign_in_time(
                last_login=getattr(user, "last_login", None),
                issued_at=issued_at,
                # A rotated token has the time of the rotation.
                otherwise=None if _settings().ROTATE_REFRESH_TOKENS else issued_at,
            ),
            expires_at=_instant(claims["exp"]),
            reference=reference,
        )

    def _granted(self) -> str:
        if self._scope:
            return self._scope
        rows = Client.objects.using(write_database(Client)).filter(client_id=self._client_id)
        return next(iter(read_rows(rows.values_list("scope", flat=True))), "")


def has_blacklist() -> bool:
    """Tell whether the app that stores tokens is there."""
    return apps.is_installed(_BLACKLIST)


def _verified(token: str) -> dict[str, Any] | None:
    from rest_framework_simplejwt.exceptions import TokenBackendError
    from rest_framework_simplejwt.state import token_backend

    try:
        return foreign_jwt.verify(
            token,
            find_key=token_backend.get_verifying_key,
            algorithm=token_backend.algorithm,
            audience=token_backend.audience,
            issuer=token_backend.issuer,
        )
    except TokenBackendError as error:
        if type(error.__cause__).__name__ == "PyJWKClientConnectionError":
            # The site has its keys from a JWK_URL, which does not answer: the token may be genuine.
            raise TemporarilyUnavailable(
                "try again with the same parameters", reason="foreign_keys_unavailable"
            ) from None
        return None
    except NotVerified:
        return None


def _is_refresh_token(claims: Mapping[str, Any]) -> bool:
    name = _settings().TOKEN_TYPE_CLAIM
    return name is None or claims.get(name) == "refresh"


def _outstanding() -> Any:
    from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

    return OutstandingToken._default_manager.using(write_database(OutstandingToken))


def _user(claims: Mapping[str, Any]) -> Any:
    """Return the user of a token; None if there is none."""
    model = get_user_model()
    users = model._default_manager.using(write_database(model))
    key = claims.get(_settings().USER_ID_CLAIM)
    if key is None:
        return None
    try:
        return users.filter(**{_settings().USER_ID_FIELD: key}).first()
    except (ValueError, TypeError, OverflowError, ValidationError):
        # No key of this model looks like that.
        return None


def _has_same_password(claims: Mapping[str, Any], user: Any) -> bool:
    """Tell whether the user's password is that of the token, if the site has its tokens say so."""
    if not _settings().CHECK_REVOKE_TOKEN:
        return True
    from rest_framework_simplejwt.utils import get_md5_hash_password

    is_same: bool = claims.get(_settings().REVOKE_TOKEN_CLAIM) == get_md5_hash_password(user.password)
    return is_same


def _instant(seconds: Any) -> datetime | None:
    if type(seconds) not in (int, float):
        return None
    instant = datetime.fromtimestamp(seconds, tz=datetime_timezone.utc)
    return instant if timezone.is_aware(timezone.now()) else make_naive(instant)


def _settings() -> Any:
    from rest_framework_simplejwt.settings import api_settings

    return api_settings
