"""What a session keeps of its user's password, so that a refresh notices a change.

It is a MAC of the password hash with a key of the site's ``SECRETS``: nothing else decides whether a session
is still good, neither ``SECRET_KEY`` (if the site has ``SECRETS`` of its own) nor how Django makes the hash
that its own sessions keep.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
from collections.abc import Iterator
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX, is_password_usable

from django_ciam_token.crypto import site_keys

# Names the version of the format; the first was 64 hex digits.
_FORMAT: Final = "v2$"
# Nobody can make the MAC of another password without the secret, so 128 bits are enough; rows stay small.
_MAC_BYTES: Final = 16
# Django's own sessions put SECRET_KEY here. It may be public: the MAC around it has the key.
_NO_SECRET: Final = "django_ciam_token"
_DJANGOS: Final[Any] = AbstractBaseUser


def session_auth_hash(user: AbstractBaseUser | None) -> str:
    """Return what a session keeps; empty without a user, or if the user model has nothing of the kind."""
    if user is None or not _has_auth_hash(user):
        return ""
    return _written(site_keys.mac(_fingerprint(user).encode(), purpose=site_keys.PASSWORD_HASH))


def is_auth_hash_of(kept: str, user: AbstractBaseUser) -> bool:
    """Tell whether a session that keeps this was begun with the password that the user has now."""
    # Almost always the first: the others are for sessions that began before a secret was replaced.
    if _is_equal(kept, session_auth_hash(user)):
        return True
    return any(_is_equal(kept, value) for value in every_auth_hash(user))


def every_auth_hash(user: AbstractBaseUser) -> Iterator[str]:
    """Yield all that sessions may keep of the password that the user has now."""
    if not _has_auth_hash(user):
        yield ""
        return
    for fingerprint in _fingerprints(user):
        for mac in site_keys.macs(fingerprint.encode(), purpose=site_keys.PASSWORD_HASH):
            yield _written(mac)
    # The first version, which depends on SECRET_KEY; sessions keep it until they are refreshed.
    for auth_hash in _of_django(user):
        yield hashlib.sha256(auth_hash.encode()).hexdigest()


def with_password(user: AbstractBaseUser, encoded: str) -> AbstractBaseUser:
    """Return a copy of a user that has another password hash."""
    changed = copy.copy(user)
    changed.password = encoded
    return changed


def _fingerprint(user: AbstractBaseUser) -> str:
    """Return what changes when the password does, or whatever else the user model counts as a reason.

    A model that overrides ``_get_session_auth_hash(secret)`` is asked without any secret of the site. One
    that overrides the public ``get_session_auth_hash()`` can only be asked with ``SECRET_KEY``: its sessions
    depend on that key and its fallbacks, as Django's own do.
    """
    # Of a lazy object, as `request.user` is, the class of what it stands for.
    model: Any = user.__class__
    if model.get_session_auth_hash is not _DJANGOS.get_session_auth_hash:
        return str(_without_random_part(user).get_session_auth_hash())
    if model._get_session_auth_hash is not _DJANGOS._get_session_auth_hash:
        return str(_without_random_part(user)._get_session_auth_hash(secret=_NO_SECRET))
    return (user.password or "") if is_password_usable(user.password) else UNUSABLE_PASSWORD_PREFIX


def _fingerprints(user: AbstractBaseUser) -> Iterator[str]:
    """Yield the fingerprint, and those that it may have had with fallbacks of ``SECRET_KEY``."""
    yield _fingerprint(user)
    if user.__class__.get_session_auth_hash is not _DJANGOS.get_session_auth_hash:
        yield from _of_django(_without_random_part(user))


def _without_random_part(user: AbstractBaseUser) -> Any:
    """Return the user, with one and the same mark if there is no usable password.

    Django draws "no password" anew each time it is set, as some backends do at every sign-in.
    """
    password = getattr(user, "password", None)
    return user if is_password_usable(password) else with_password(user, UNUSABLE_PASSWORD_PREFIX)


def _of_django(user: Any) -> Iterator[str]:
    """Yield the hashes that Django's own sessions are compared with."""
    yield user.get_session_auth_hash()
    # A user model of a site's own may have no such method.
    if hasattr(user, "get_session_auth_fallback_hash"):
        yield from user.get_session_auth_fallback_hash()


def _has_auth_hash(user: AbstractBaseUser) -> bool:
    return getattr(user, "get_session_auth_hash", None) is not None


def _written(mac: bytes) -> str:
    return _FORMAT + mac[:_MAC_BYTES].hex()


def _is_equal(kept: str, value: str) -> bool:
    return hmac.compare_digest(kept.encode(), value.encode())
