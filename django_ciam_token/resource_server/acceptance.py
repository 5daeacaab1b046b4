"""Whether the site's own views accept an access token."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError

from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidToken
from django_ciam_token.models import Client
from django_ciam_token.resource_server.lazy_user import LazyUser
from django_ciam_token.resource_server.machine_user import MachineUser
from django_ciam_token.tokens import access_tokens
from django_ciam_token.tokens.access_tokens import LiveAccessToken, VerifiedAccessToken


class UnreadAccessToken(LiveAccessToken):
    """An access token of which only the token itself was looked at.

    Its ``client`` and its ``user`` are read when they are asked for, in one statement for both. Whatever has
    ended the token since it was issued is found then, and not before.
    """

    def __init__(self, verified: VerifiedAccessToken, *, read: Callable[[], LiveAccessToken]) -> None:
        object.__setattr__(self, "verified", verified)
        object.__setattr__(self, "_read", read)
        object.__setattr__(self, "_live", None)

    def __repr__(self) -> str:
        return f"UnreadAccessToken(verified={self.verified!r})"

    @property
    def live(self) -> LiveAccessToken:
        """The token with what was read for it.

        Raises:
            InvalidToken: something has ended it; or what a view raises for that.
            TemporarilyUnavailable: the database refused; or what a view raises for that.
        """
        found: LiveAccessToken | None = self.__dict__["_live"]
        if found is None:
            found = self.__dict__["_read"]()
            object.__setattr__(self, "_live", found)
        return found

    @property
    def client(self) -> Client:
        """The client that it was issued to."""
        return self.live.client

    @property
    def user(self) -> AbstractBaseUser | None:
        """The user; None for a machine."""
        return self.live.user


def accept(token: str | Concealed, *, now: datetime) -> LiveAccessToken:
    """Return what an access token says if the site's own views may accept it.

    Raises:
        InvalidToken: they may not accept it; the reason says why.
        TemporarilyUnavailable: the database refused.
    """
    return _read(_verify(Concealed.of(token), now=now))


def accept_unread(
    token: str | Concealed,
    *,
    now: datetime,
    reading: Callable[[Callable[[], LiveAccessToken]], LiveAccessToken] = lambda read: read(),
) -> UnreadAccessToken:
    """Return what an access token says, without asking the database about it.

    Args:
        token: the access token.
        now: the present.
        reading: called with a function that reads client and user, as soon as somebody asks for them. It may
            turn what that raises into what a view raises.

    Raises:
        InvalidToken: the site's own views may not accept it; the reason says why.
        TemporarilyUnavailable: the signing keys can't be read.
    """
    verified = _verify(Concealed.of(token), now=now)
    if ciam_settings.RESOURCE_AUDIENCES is None and verified.claims["aud"] != verified.client_id:
        raise InvalidToken(reason="wrong_audience")
    return UnreadAccessToken(verified, read=lambda: reading(lambda: _read(verified)))


def user_of(token: LiveAccessToken) -> AbstractBaseUser | MachineUser | LazyUser:
    """Return the ``request.user`` of a request with this token.

    Raises:
        InvalidToken: the token names a user that can't be one of the site's.
    """
    if isinstance(token, UnreadAccessToken):
        return LazyUser(lambda: user_of(token.live), model=get_user_model(), pk=_known_key(token.verified))
    if token.user is not None:
        return token.user
    machine_user = ciam_settings.MACHINE_USER
    return MachineUser(client=token.client) if machine_user is None else machine_user(token.client)


def _verify(token: Concealed, *, now: datetime) -> VerifiedAccessToken:
    verified = access_tokens.verify(token, now=now)
    audiences = ciam_settings.RESOURCE_AUDIENCES
    try:
        access_tokens.require_unexpired(verified, now=now, leeway=ciam_settings.RESOURCE_LEEWAY)
        if audiences is not None and verified.claims["aud"] not in audiences:
            raise InvalidToken(reason="wrong_audience")
    except InvalidToken as error:
        error.log_fields = _log_fields(verified)
        raise
    return verified


def _read(verified: VerifiedAccessToken) -> LiveAccessToken:
    try:
        live = access_tokens.require_live(verified, revocation=ciam_settings.RESOURCE_CHECKS_REVOCATION)
        # If the operator gave the client an audience, it is meant for some API, but perhaps not for this one.
        if ciam_settings.RESOURCE_AUDIENCES is None and verified.claims["aud"] != live.client.client_id:
            raise InvalidToken(reason="wrong_audience")
    except InvalidToken as error:
        error.log_fields = _log_fields(verified)
        raise
    return live


def _log_fields(verified: VerifiedAccessToken) -> dict[str, str]:
    """Say whose token was refused: it is signed, so it is what it says."""
    session = {} if verified.session_id is None else {"session_id": str(verified.session_id)}
    return {"client_id": verified.client_id, **session}


def _known_key(verified: VerifiedAccessToken) -> object | None:
    """Return the key of the user, if the token is certain to name it.

    A token whose ``sub`` is its client may be a machine's, or that of a user who has chosen that name; and
    what ``SUBJECT`` calls alice may be bob's key.
    """
    sub = verified.claims["sub"]
    if sub == verified.client_id or ciam_settings.SUBJECT is not None:
        return None
    try:
        key: object = get_user_model()._meta.pk.to_python(sub)
    except ValidationError:
        raise InvalidToken(reason="unknown_user") from None
    return key
