"""What a pasted token is: its kind, what it says, whether it is genuine, whether it works, and if not, why.

Nothing is written, and nothing of the token is kept or shown but what it says of itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from datetime import timezone as datetime_timezone
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.db.models import TextChoices
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_ciam_token.admin import refusals, times
from django_ciam_token.clients.secrets import SECRET_PREFIX
from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import authorization_code_string, jose, refresh_token_string, site_keys
from django_ciam_token.crypto.refresh_token_string import GenuineToken, NotGenuine, WrongMAC
from django_ciam_token.errors import InvalidGrant, InvalidToken
from django_ciam_token.models import RefreshToken, SigningKey, SigningKeyState
from django_ciam_token.models.refresh_token import NOT_EXCHANGED
from django_ciam_token.sessions.rows import SessionReading, find_session
from django_ciam_token.sessions.state import obstacle
from django_ciam_token.sessions.verdict import Verdict, is_current, judge, successor_again
from django_ciam_token.tokens import access_tokens, foreign

_LONGEST_KID: Final = 64
_DATES: Final = ("exp", "iat", "nbf", "auth_time")


class Kind(TextChoices):
    """What a string is, by its form."""

    REFRESH = "refresh_token", gettext_lazy("refresh token")
    ACCESS = "access_token", gettext_lazy("access token")
    ID = "id_token", gettext_lazy("ID token")
    CODE = "code", gettext_lazy("authorization code")
    FOREIGN = "foreign", gettext_lazy("refresh token of another package")
    JWT = "jwt", gettext_lazy("JWT")
    SECRET = "client_secret", gettext_lazy("client secret")
    UNKNOWN = "unknown", gettext_lazy("nothing that this service issues")


@dataclass(frozen=True)
class Inspection:
    """What is known of a token."""

    kind: Kind
    is_genuine: bool = False
    forgery: str = ""
    """Why it is not genuine."""
    is_live: bool | None = None
    """None if that can't be said of its kind."""
    verdict: str = ""
    """What would happen if it were used now."""
    position: str = ""
    """Which of its session's refresh tokens it is."""
    session_id: uuid.UUID | None = None
    """Only of a genuine token."""
    session: RefreshToken | None = field(default=None, repr=False)
    """Its session, read with client and user, if that is still stored."""
    says: list[tuple[str, str]] = field(default_factory=list, repr=False)
    """What is written in it, by name."""


def inspect(token: Concealed, *, now: datetime) -> Inspection:
    """Tell what a string is. Nothing is written.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    for prefix, look in _BY_PREFIX.items():
        if token.reveal().startswith(prefix):
            return look(token, now)
    if token.lend(jose.unverified_parts) is not None:
        return _jwt(token, now)
    return _foreign(token, now) or Inspection(Kind.UNKNOWN)


def _refresh_token(token: Concealed, now: datetime) -> Inspection:
    try:
        presented = token.lend(partial(refresh_token_string.authenticate, keys=site_keys.token_keys()))
    except WrongMAC:
        forgery = _(
            "Its MAC is wrong: it is forged or damaged, or was issued with other SECRETS than this site has."
        )
        return Inspection(Kind.REFRESH, forgery=forgery)
    except NotGenuine:
        return Inspection(Kind.REFRESH, forgery=_("It is not as long as a refresh token: a part is missing."))
    return _of_session(Kind.REFRESH, presented, now)


def _of_session(kind: Kind, presented: GenuineToken, now: datetime) -> Inspection:
    says = [("session", str(presented.session_id)), ("generation", str(presented.generation))]
    known = Inspection(kind, is_genuine=True, session_id=presented.session_id, says=says)
    reading = find_session(presented.session_id)
    if reading is None:
        return replace(known, is_live=False, verdict=_("The session is no longer stored."))
    position = _position(reading.session, presented)
    if _is_never_issued(reading.session, presented):
        # `judge` would log that somebody else has the secret, though this is only looked at.
        is_live, verdict = False, _("It would be refused: somebody may know the site's secret.")
    else:
        is_live, verdict = _judged(reading, presented, now)
    return replace(known, session=reading.session, is_live=is_live, verdict=verdict, position=position)


def _judged(reading: SessionReading, presented: GenuineToken, now: datetime) -> tuple[bool, str]:
    """Return whether a refresh would succeed now, and what would happen."""
    session = reading.session
    found = obstacle(session)
    try:
        verdict = judge(reading, presented, client=session.client, now=now)
    except InvalidGrant as refusal:
        return False, refusals.in_words(refusal.reason)
    if verdict is Verdict.REUSE:
        return False, _("Its use is a reuse: it would be refused and would end the session.")
    if found is not None:
        return False, str(found.label)
    if verdict is Verdict.REPLAY:
        return True, _("It would be answered with its successor again, within the grace period.")
    return True, _("It would be refreshed.")


def _is_never_issued(session: RefreshToken, presented: GenuineToken) -> bool:
    return session.generation <= presented.generation and not is_current(session, presented)


def _position(session: RefreshToken, presented: GenuineToken) -> str:
    behind = session.generation - presented.generation
    if is_current(session, presented):
        return _("the current one")
    if behind == 1 and successor_again(session, presented):
        return _("the predecessor of the current one")
    if behind >= 1:
        return _("superseded %(count)d refreshes ago") % {"count": behind}
    return _("one that this database never issued")


def _code(token: Concealed, now: datetime) -> Inspection:
    try:
        code = token.lend(partial(authorization_code_string.authenticate, keys=site_keys.code_keys()))
    except NotGenuine:
        return Inspection(Kind.CODE, forgery=_("Its MAC is wrong: it is forged or damaged."))
    known = Inspection(Kind.CODE, is_genuine=True, session_id=code.session_id)
    known = replace(known, says=[("session", str(code.session_id))])
    reading = find_session(code.session_id)
    if reading is None:
        return replace(known, is_live=False, verdict=_("The session is no longer stored."))
    session = reading.session
    if session.nonce != NOT_EXCHANGED:
        return replace(known, session=session, is_live=False, verdict=_("It has been exchanged."))
    is_live = session.revoked_at is None and session.expires_at > now
    return replace(known, is_live=is_live, verdict=_("It has not been exchanged."))


def _secret(token: Concealed, now: datetime) -> Inspection:
    return Inspection(Kind.SECRET, verdict=_("It was pasted here, so it should be replaced."))


def _jwt(token: Concealed, now: datetime) -> Inspection:
    header, claims = token.lend(jose.unverified_parts) or ({}, {})
    says = [*_in_words(header), *_in_words(claims)]
    try:
        verified = access_tokens.verify(token, now=now)
    except InvalidToken as error:
        if error.reason == "not_an_access_token":
            return _id_token(claims, says, now)
        # Some packages issue refresh tokens that are JWTs.
        found = _foreign(token, now)
        return found or Inspection(Kind.JWT, forgery=_why_not_verified(header, claims, now), says=says)
    known = Inspection(Kind.ACCESS, is_genuine=True, session_id=verified.session_id, says=says)
    known = replace(known, session=_session(verified.session_id))
    try:
        access_tokens.require_unexpired(verified, now=now, leeway=ciam_settings.RESOURCE_LEEWAY)
        access_tokens.require_live(verified)
    except InvalidToken as error:
        return replace(known, is_live=False, verdict=_why_refused(error.reason))
    return replace(known, is_live=True, verdict=_("It is accepted."))


def _id_token(claims: Mapping[str, Any], says: list[tuple[str, str]], now: datetime) -> Inspection:
    try:
        session_id = uuid.UUID(str(claims["sid"]))
    except (KeyError, ValueError):
        session_id = None
    has_expired = claims["exp"] <= now.timestamp()
    verdict = (
        _("It has expired.")
        if has_expired
        else _("It tells its application who signed in; nothing else accepts it.")
    )
    known = Inspection(Kind.ID, is_genuine=True, session_id=session_id, says=says, verdict=verdict)
    return replace(known, session=_session(session_id))


def _foreign(token: Concealed, now: datetime) -> Inspection | None:
    presented = foreign.known(token)
    return None if presented is None else _of_session(Kind.FOREIGN, presented, now)


def _session(session_id: uuid.UUID | None) -> RefreshToken | None:
    reading = None if session_id is None else find_session(session_id)
    return None if reading is None else reading.session


def _why_not_verified(header: Mapping[str, Any], claims: Mapping[str, Any], now: datetime) -> str:
    issuer, kid = claims.get("iss"), header.get("kid")
    if issuer != ciam_settings.ISSUER:
        return _("Its issuer is not this service.")
    key = SigningKey.objects.filter(kid=kid).first() if _may_be_kid(kid) else None
    if key is None:
        return _("No key of this service has the kid that it names.")
    if key.state(now) is SigningKeyState.REMOVED:
        return _("The key that signed it was removed.")
    return _("The key that it names has not signed it, or it lacks a claim: it is forged or damaged.")


def _may_be_kid(kid: Any) -> bool:
    """Tell whether it is a string that every database can look for."""
    return isinstance(kid, str) and kid.isascii() and kid.isprintable() and len(kid) <= _LONGEST_KID


def _why_refused(reason: str) -> str:
    own = {
        "expired": _("It has expired."),
        "not_yet_valid": _("It is not valid yet: is a clock wrong?"),
        "revoked": _("It was revoked, or its session has ended."),
        "unknown_session": _("The session is no longer stored."),
        "unknown_client": _("Its client is gone."),
    }
    return own.get(reason) or refusals.in_words(reason)


def _in_words(members: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(_shown(str(name)), _shown(_value(name, value))) for name, value in members.items()]


def _shown(text: str) -> str:
    # JSON may have halves of surrogate pairs, which no page can be encoded with.
    return text.encode(errors="backslashreplace").decode()


def _value(name: str, value: Any) -> str:
    if name in _DATES and type(value) is int:
        try:
            return f"{value} ({times.exact(_instant(value))})"
        except (ValueError, OverflowError, OSError):
            return str(value)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _instant(seconds: int) -> datetime:
    aware = datetime.fromtimestamp(seconds, tz=datetime_timezone.utc)
    return aware if settings.USE_TZ else timezone.make_naive(aware, timezone.get_default_timezone())


_BY_PREFIX: Final = {
    refresh_token_string.PREFIX: _refresh_token,
    authorization_code_string.PREFIX: _code,
    SECRET_PREFIX: _secret,
}
