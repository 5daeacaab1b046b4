"""Keeping a user's sessions when only the hash of the password is upgraded.

After a release of Django with more iterations (or with new ``PASSWORD_HASHERS``), `check_password` replaces
the hash of a password that it has just found right. The save that does this looks like any other. What tells
it from a change is where it happens: in the user model's `check_password`, which is therefore wrapped.

Signals would not do. They do not say why somebody saves, and outside a transaction ``post_save`` comes after
the COMMIT: a refresh in between would find a new hash and sessions that keep the old one.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import check_password
from django.db import ProgrammingError, connections, router, transaction
from django.views.decorators.debug import sensitive_variables

from django_ciam_token.database.retry import UNAVAILABLE
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import RefreshToken
from django_ciam_token.sessions.auth_hash import every_auth_hash, session_auth_hash, with_password

logger = logging.getLogger("django_ciam_token")

# ProgrammingError: the package is installed, but `migrate` has not run yet.
_CAN_NOT_WRITE: Final = (*UNAVAILABLE, ProgrammingError, TemporarilyUnavailable)


@dataclass
class _Check:
    """A `check_password` that is running."""

    user: AbstractBaseUser
    raw_password: Any = field(repr=False)
    checked: str = field(repr=False)
    """The hash that the password is checked against."""
    is_djangos: bool
    """Whether the method is Django's own, not one of the user model's."""

    def is_upgraded_by_saving(self, user: AbstractBaseUser, update_fields: Any) -> bool:
        """Tell whether a save replaces the hash that was checked by another one of the same password."""
        if user is not self.user or user.password == self.checked:
            return False
        if update_fields is not None and "password" not in update_fields:
            return False
        # Django's own code made the new hash of this very password, after it had found it right. The code of
        # a user model may have done anything, such as lock the account.
        is_certain = self.is_djangos and type(user).set_password is AbstractBaseUser.set_password
        return is_certain or self.accepts(user.password)

    def accepts(self, encoded: str) -> bool:
        """Tell, as slowly as the hash is, whether it is one of the password that is being checked."""
        return check_password(self.raw_password, encoded)


# It follows `await`, and Django's `asave` into its thread; no other request or task sees it.
_running: ContextVar[_Check | None] = ContextVar("django_ciam_token_password_check", default=None)


def keep_sessions_at_upgrades(
    model: type[AbstractBaseUser], *, require_right_secrets: Callable[[], None]
) -> None:
    """Wrap the methods of a user model that check a password and that save it.

    Methods that the model overrides are wrapped as they are. What is wrapped already stays so.

    Args:
        model: the user model.
        require_right_secrets: raises TemporarilyUnavailable if the process has other secrets than the rest of
            the site: it would find no session to carry over.
    """
    wrapped: dict[str, Callable[[Any], Any]] = {
        "check_password": _checking,
        "acheck_password": _checking_async,
        "save": functools.partial(_saving, require_right_secrets=require_right_secrets),
    }
    for name, wrap in wrapped.items():
        original = getattr(model, name)
        if not hasattr(original, "keeps_sessions"):
            wrapper = functools.wraps(original)(wrap(original))
            wrapper.keeps_sessions = True  # type: ignore[attr-defined]
            setattr(model, name, wrapper)


def _checking(original: Callable[..., Any]) -> Callable[..., Any]:
    is_djangos = original is AbstractBaseUser.check_password

    @sensitive_variables()
    def check_password(self: AbstractBaseUser, *args: Any, **kwargs: Any) -> Any:
        with _run(_Check(self, _first(*args, *kwargs.values()), self.password, is_djangos)):
            return original(self, *args, **kwargs)

    return check_password


def _checking_async(original: Callable[..., Any]) -> Callable[..., Any]:
    is_djangos = original is AbstractBaseUser.acheck_password

    @sensitive_variables()
    async def acheck_password(self: AbstractBaseUser, *args: Any, **kwargs: Any) -> Any:
        with _run(_Check(self, _first(*args, *kwargs.values()), self.password, is_djangos)):
            return await original(self, *args, **kwargs)

    return acheck_password


def _saving(
    original: Callable[..., None], *, require_right_secrets: Callable[[], None]
) -> Callable[..., None]:
    def save(self: AbstractBaseUser, *args: Any, **kwargs: Any) -> None:
        check = _running.get()
        write = functools.partial(original, self, *args, **kwargs)
        if check is None or not check.is_upgraded_by_saving(self, kwargs.get("update_fields")):
            return write()
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        # What receivers of signals save meanwhile is no second upgrade.
        with _run(None):
            _save_upgrade(check, write, using=using, require_right_secrets=require_right_secrets)
        check.checked = self.password
        return None

    return save


@contextmanager
def _run(check: _Check | None) -> Iterator[None]:
    token = _running.set(check)
    try:
        yield
    finally:
        _running.reset(token)


def _first(raw_password: Any = None, *_: Any) -> Any:
    """Return the password, whatever a user model calls its parameter."""
    return raw_password


def _save_upgrade(
    check: _Check,
    save: Callable[[], None],
    *,
    using: str,
    require_right_secrets: Callable[[], None],
) -> None:
    """Save the new hash and carry the sessions over, or leave both for another login."""
    user, old, new = check.user, check.checked, check.user.password
    try:
        with transaction.atomic(using=using):
            require_right_secrets()
            stored = _swap(user, old, using=using)
            # A user that is gone, or a column that can't be compared, is for Django's own code to deal with.
            if stored in (new, old, None):
                save()
                _carry_over(user, old, users_database=using)
                return
    except _CAN_NOT_WRITE as error:
        if connections[using].needs_rollback:
            raise
        logger.warning(
            "The upgrade of a password hash is left for another login: %s",
            type(error).__name__,
            extra={"event": "password_upgrade_put_off", "reason": type(error).__name__},
        )
        user.password = old
        return
    # Somebody else was first. If it was another login with this password, both go on with its hash. If the
    # password was changed, that stands, and what this login begins ends like everything begun before.
    user.password = stored if check.accepts(stored) else old


def _swap(user: AbstractBaseUser, old: str, *, using: str) -> str | None:
    """Replace the hash if it is still the one that was checked, and return what is stored now.

    One statement looks and writes. So of two logins at once, one finds the hash of the other; and a change of
    the password is never undone.
    """
    rows = type(user)._base_manager.using(using).filter(pk=user.pk)
    if rows.filter(password=old).update(password=user.password):
        return user.password
    # Locked, because a snapshot would show MariaDB's readers what was there before.
    return rows.select_for_update().values_list("password", flat=True).first()


def _carry_over(user: Any, old: str, *, users_database: str) -> None:
    """Let the sessions that were good until now keep the new hash.

    Sessions that an earlier change had ended keep another hash, and do not come back. If users and sessions
    are in different databases, no transaction can hold both: the sessions follow as soon as the user is
    saved, and a refresh in between is refused.
    """
    kept_now = session_auth_hash(user)
    kept_before = set(every_auth_hash(with_password(user, old))) - {kept_now}
    using = write_database(RefreshToken)
    sessions = RefreshToken.objects.using(using).filter(
        user=user, session_auth_hash__in=kept_before, revoked_at=None
    )

    def carry_over() -> None:
        sessions.update(session_auth_hash=kept_now)

    if using == users_database:
        carry_over()
    else:
        transaction.on_commit(carry_over, using=users_database, robust=True)
