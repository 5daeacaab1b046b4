"""What ``manage.py check`` reports about the signing keys.

This queries the database. Django runs such checks only with ``check --database default`` and as part of
``migrate``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import site_keys
from django_ciam_token.database.routing import write_database
from django_ciam_token.keys import binding, key_set, signing_keys
from django_ciam_token.keys.binding import Trust
from django_ciam_token.models import SigningKey, SigningKeyState


def check_signing_keys(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check that there is a key to sign with, now and after the fallback secrets are removed."""
    using = write_database(SigningKey)
    if using not in (databases or ()):
        return []
    try:
        keys = list(SigningKey.objects.using(using))
    except (DatabaseError, InterfaceError):
        return []  # Not migrated, or not yet to this version.
    now = timezone.now()
    try:
        trusts = {key: binding.trust(key) for key in keys if key.state(now) is not SigningKeyState.REMOVED}
        return [*_warn_of_active_key(trusts, now), *_warn_of_untrusted_keys(trusts, now)]
    except ImproperlyConfigured:
        return []  # A setting has the wrong type; `check_settings` reports it.


_MAKE_A_KEY: Final = "Make a key with: manage.py rotate_signing_key --now"


def _warn_of_active_key(trusts: Mapping[SigningKey, Trust], now: datetime) -> Iterator[CheckMessage]:
    # Only warnings, although nothing works without a key: an error would stop `migrate`, which makes one.
    trusted = [key for key, trust in trusts.items() if trust is Trust.TRUSTED]
    key, undecryptable = key_set.active_key(trusted, now), _active_undecryptable_key(trusts, now)
    if key is not None:
        yield from _warn_about(key)
        yield from _warn_of_age(trusted)
    elif undecryptable is not None:
        message = f"None of the site's secrets decrypts the active signing key {undecryptable.kid}."
        hint = f"List the former secret in SECRET_KEY_FALLBACKS again. {_MAKE_A_KEY}"
        yield _warning("W005", message, hint)
    else:
        yield _warning("W004", "There is no active signing key.", _MAKE_A_KEY)


def _active_undecryptable_key(trusts: Mapping[SigningKey, Trust], now: datetime) -> SigningKey | None:
    return key_set.active_key([key for key, trust in trusts.items() if trust is Trust.UNDECRYPTABLE], now)


def _warn_of_untrusted_keys(trusts: Mapping[SigningKey, Trust], now: datetime) -> Iterator[CheckMessage]:
    has_right_secrets = any(
        trust is Trust.TRUSTED and key.state(now) is SigningKeyState.ACTIVE for key, trust in trusts.items()
    )
    for key, trust in trusts.items():
        if trust is Trust.MISMATCHED:
            what = "does not match its row: kid, algorithm or public key are not those it was encrypted with"
        elif trust is Trust.UNDECRYPTABLE and has_right_secrets:
            what = "can't be decrypted with any of the site's secrets, though the active one can"
        else:
            continue
        yield _warning(
            "W009",
            f"The signing key {key.kid} {what}. It is neither published nor accepted.",
            "If its secret was removed too early, list it again in SECRET_KEY_FALLBACKS. Otherwise find out "
            "who writes to the database; then delete the row.",
        )


def _warn_about(key: SigningKey) -> Iterator[CheckMessage]:
    if not site_keys.is_encrypted_with_current_secret(
        key.encrypted_private_key, purpose=site_keys.SIGNING_KEY
    ):
        yield _warning(
            "W002",
            f"The active signing key {key.kid} is encrypted with a fallback secret.",
            "Run manage.py rotate_signing_key before you remove that secret.",
        )
    if key.algorithm != ciam_settings.SIGNING_ALGORITHM:
        yield _warning(
            "W003",
            f"SIGNING_ALGORITHM is {ciam_settings.SIGNING_ALGORITHM}, but the active signing key is for "
            f"{key.algorithm}.",
            "The setting applies only to new keys; make one with: manage.py rotate_signing_key",
        )


def _warn_of_age(keys: Sequence[SigningKey]) -> Iterator[CheckMessage]:
    key = signing_keys.overdue_key(keys, timezone.now())
    if key is not None:
        yield _warning(
            "W007",
            f"The signing key {key.kid} has been active for longer than SIGNING_KEY_MAX_AGE "
            f"({ciam_settings.SIGNING_KEY_MAX_AGE}).",
            "Make a new one with: manage.py rotate_signing_key",
        )


def _warning(number: str, message: str, hint: str) -> checks.Warning:
    return checks.Warning(message, hint=hint, id=f"django_ciam_token.{number}")
