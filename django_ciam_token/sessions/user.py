"""Whether a session's user is still the one who signed in: there, active, and with the same password."""

from __future__ import annotations

import hashlib

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.utils.crypto import constant_time_compare

from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import RefreshToken


def session_auth_hash(user: AbstractBaseUser | None) -> str:
    """Return what changes when the user's password does; empty for a user model that has no such thing."""
    hash_of = getattr(user, "get_session_auth_hash", None)
    return "" if hash_of is None else _digest_of_hash(hash_of())


def user_name(user: AbstractBaseUser | AnonymousUser) -> str:
    """Return what people call a user; some user models have an object there, such as a phone number."""
    return str(user.get_username())


def require_active(session: RefreshToken) -> None:
    """Check that the session's user, if it has one, exists and is active.

    Raises:
        InvalidGrant: the user is gone or disabled.
    """
    user = session.user
    if session.user_id is None:
        return
    # Without foreign keys in the database (MyISAM, raw SQL) a deleted user leaves the row behind; that
    # must not turn a user's session into a machine's.
    if user is None:
        raise InvalidGrant(reason="user_deleted")
    if not getattr(user, "is_active", True):
        raise InvalidGrant(reason="user_disabled")


def require_unchanged(session: RefreshToken) -> None:
    """Check that the session's user, if it has one, is active and has the same password as when it began.

    Raises:
        InvalidGrant: the user is gone or disabled, or has another password.
    """
    require_active(session)
    user = session.user
    if user is None or not ciam_settings.END_SESSIONS_ON_PASSWORD_CHANGE:
        return
    if constant_time_compare(session.session_auth_hash, session_auth_hash(user)):
        return
    # As django.contrib.auth does for its own sessions: SECRET_KEY is part of the hash.
    if hasattr(user, "get_session_auth_fallback_hash"):
        for older in user.get_session_auth_fallback_hash():
            if constant_time_compare(session.session_auth_hash, _digest_of_hash(older)):
                return
    raise InvalidGrant(reason="password_changed")


def _digest_of_hash(auth_hash: str) -> str:
    """Make what a user model returns fit the column, however long it is."""
    return hashlib.sha256(auth_hash.encode()).hexdigest()
