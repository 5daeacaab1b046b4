"""Whether a session's user is still the one who signed in: there, active, and with the same password."""

from __future__ import annotations

from typing import Any, Protocol

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError

from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.sessions.auth_hash import is_auth_hash_of


def user_name(user: AbstractBaseUser | AnonymousUser) -> str:
    """Return what people call a user; some user models have an object there, such as a phone number."""
    return str(user.get_username())


def user_with_key(key: str) -> AbstractBaseUser | None:
    """Return the user with this primary key, read where users are written; None if there is none."""
    model = get_user_model()
    try:
        return model._default_manager.using(write_database(model)).filter(pk=key).first()
    except (ValueError, TypeError, OverflowError, ValidationError):
        # No key of this model looks like that.
        return None


class OfUser(Protocol):
    """What a session says of its user: a `RefreshToken`, or what was read of one."""

    @property
    def user_id(self) -> Any:
        """The key that the session has; None for a machine."""

    @property
    def user(self) -> AbstractBaseUser | None:
        """The user's row; None if there is none."""

    @property
    def session_auth_hash(self) -> str:
        """What it keeps of the password with which it began."""


def require_active(session: OfUser) -> None:
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


def require_unchanged(session: OfUser) -> None:
    """Check that the session's user, if it has one, is active and has the same password as when it began.

    Raises:
        InvalidGrant: the user is gone or disabled, or has another password.
    """
    require_active(session)
    user = session.user
    if user is None or not ciam_settings.END_SESSIONS_ON_PASSWORD_CHANGE:
        return
    if not is_auth_hash_of(session.session_auth_hash, user):
        raise InvalidGrant(reason="password_changed")
