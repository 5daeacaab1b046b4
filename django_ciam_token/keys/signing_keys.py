"""The life cycle of signing keys: made, rotated, retired, removed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connections, transaction
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import jose
from django_ciam_token.database.local_time import after, is_past
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.keys import binding
from django_ciam_token.keys.binding import Trust
from django_ciam_token.keys.key_set import active_key, forget, require_right_secrets
from django_ciam_token.models import SigningKey, SigningKeyState
from django_ciam_token.models.client import longest_token_lifetime

logger = logging.getLogger("django_ciam_token")

# Verifiers may allow clocks to be wrong by this much, and so accept a token for as long after its exp.
_SOON: Final = timedelta(days=30)
"""A planned rotation may be announced so long before."""
_LEEWAY: Final = timedelta(minutes=5)
LONGEST_LEAD: Final = timedelta(days=366)
"""How far ahead a rotation may be planned."""


def rotate(
    *,
    algorithm: str | None = None,
    immediately: bool = False,
    compromised: bool = False,
    lead: timedelta | None = None,
    now: datetime | None = None,
    actor: str = "",
    caller: Caller = NOBODY,
) -> SigningKey:
    """Make a new signing key and retire the older ones.

    Args:
        algorithm: RS256, PS256, ES256 or EdDSA; None for the setting ``SIGNING_ALGORITHM``.
        immediately: sign with it at once. Verifiers with an older JWK Set refuse its tokens until they fetch
            the new one. By default it is published ``SIGNING_KEY_LEAD`` before it signs.
        compromised: like ``immediately``, and also remove the older keys from the JWK Set at once: tokens
            that they signed are refused from then on.
        lead: how long the new key is published before it signs, if longer than ``SIGNING_KEY_LEAD``, and at
            most a year: a planned rotation. A rotation before that time takes the place of the planned one.
        now: the current time; by default the host's clock.
        actor: the user name of the person who did it, if it was a person.
        caller: where the request came from.

    Raises:
        ValueError: the algorithm is unknown, or the lead is too short or too long.
        WrongSecrets: this process has other secrets than the active key was encrypted with. A new key would
            take its place in processes that can't decrypt it. If the secret is lost for good, rotate at once.
        TemporarilyUnavailable: the database refused; if a COMMIT broke, there may be a new key nevertheless.
    """
    now = now or timezone.now()
    if not immediately and not compromised:
        require_right_secrets()
    algorithm = algorithm or ciam_settings.SIGNING_ALGORITHM
    active_at = now if immediately or compromised else after(now, _lead(lead))
    # Generating a key takes a while, so it is done before anything is locked.
    key = _generate(algorithm, now=now, active_at=active_at)
    using = write_database(SigningKey)
    retry(lambda _: store(key, compromised_at=now if compromised else None, using=using), using=using)
    transaction.on_commit(forget, using=using)
    logger.info(
        "Signing key %s (%s) made, active at %s",
        key.kid,
        algorithm,
        active_at.isoformat(),
        extra={"event": "signing_key_rotated", "kid": key.kid},
    )
    signals.send_after_commit(
        signals.signing_key_rotated,
        sender=SigningKey,
        using=using,
        kid=key.kid,
        algorithm=algorithm,
        active_at=active_at,
        actor=actor,
        caller=caller,
    )
    return key


def _lead(wanted: timedelta | None) -> timedelta:
    shortest = ciam_settings.SIGNING_KEY_LEAD
    if wanted is not None and not shortest <= wanted <= LONGEST_LEAD:
        raise ValueError(
            f"A new key is published for at least {shortest} (SIGNING_KEY_LEAD), at most a year."
        )
    return shortest if wanted is None else wanted


def store(key: SigningKey, *, compromised_at: datetime | None, using: str) -> None:
    """Insert a new key, and let the older ones retire at the instant it becomes active."""
    removed_at = compromised_at or after(key.active_at, published_after_retirement())
    with transaction.atomic(using=using):
        older = SigningKey.objects.using(using)
        # If there are two rotations at once, both lock the oldest row. The second waits for it, and then
        # retires the key of the first as well.
        list(older.select_for_update().order_by("pk").values_list("pk")[:1])
        # If the outcome of an earlier COMMIT is unknown, the key may be there already.
        if older.filter(kid=key.kid).exists():
            return
        # Compared here: without time zones the database would take a time of the repeated hour for later.
        known = list(older.defer("encrypted_private_key"))
        if compromised_at is not None:
            present = [old.pk for old in known if not _has_come(old.removed_at, compromised_at)]
            older.filter(pk__in=present).update(removed_at=compromised_at)
        serving = [old.pk for old in known if not _has_come(old.retired_at, key.active_at)]
        older.filter(pk__in=serving).update(retired_at=key.active_at, removed_at=removed_at)
        key.pk = None
        key.save(using=using, force_insert=True)


def _has_come(stored: datetime | None, now: datetime) -> bool:
    return stored is not None and is_past(stored, now)


def published_after_retirement() -> timedelta:
    """Return for how long a key must stay in the JWK Set after its retirement, for what it has signed."""
    return longest_token_lifetime() + ciam_settings.PROCESS_CACHE_LIFETIME + _LEEWAY


def remove_retired(*, kids: Collection[str] | None = None, now: datetime | None = None) -> int:
    """Remove the retired keys from the JWK Set before their time, and return how many there were.

    Tokens that they signed are refused from then on: by this site at once, by other verifiers when they
    fetch the JWK Set again. A key that signs, or is about to, stays.

    Args:
        kids: only these; None for all.
        now: the current time; by default the host's clock.

    Raises:
        TemporarilyUnavailable: the database refused; if a COMMIT broke, they may be removed nevertheless.
    """
    now = now or timezone.now()
    using = write_database(SigningKey)
    rows = SigningKey.objects.using(using)
    chosen = rows.exclude(retired_at=None) if kids is None else rows.filter(kid__in=kids)

    def write(attempt: int) -> int:
        with transaction.atomic(using=using):
            known = list(chosen.defer("encrypted_private_key"))
            retired = [key.pk for key in known if key.state(now) is SigningKeyState.RETIRED]
            removed = rows.filter(pk__in=retired).update(removed_at=now)
        # If the outcome of an earlier COMMIT is unknown, it may have removed them already.
        return removed + sum(key.removed_at == now for key in known) if attempt > 1 else removed

    removed = retry(write, using=using)
    transaction.on_commit(forget, using=using)
    logger.info("%d signing keys removed", removed, extra={"event": "signing_keys_removed"})
    return removed


def overdue_key(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    """Return the active key if it has been signing for longer than ``SIGNING_KEY_MAX_AGE``.

    None once its successor is published and about to sign: the rotation has begun.
    """
    known = list(keys)
    key, max_age = active_key(known, now), ciam_settings.SIGNING_KEY_MAX_AGE
    if key is None or max_age is None or now - key.active_at <= max_age:
        return None
    return None if any(_is_about_to_sign(other, now) for other in known) else key


def _is_about_to_sign(key: SigningKey, now: datetime) -> bool:
    """Tell whether a key is published and signs soon: one planned for next year replaces nothing yet."""
    soon = after(now, max(_SOON, ciam_settings.SIGNING_KEY_LEAD))
    return key.state(now) is SigningKeyState.PUBLISHED and is_past(key.active_at, soon)


def key_younger_than(age: timedelta, now: datetime) -> SigningKey | None:
    """Return the key that makes a rotation needless: one that signs soon, or an active key of less age.

    A key that is not trusted does not count: it can't sign.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    using = write_database(SigningKey)
    known = retry(lambda _: list(SigningKey.objects.using(using)), using=using)
    trusted = [key for key in known if binding.trust(key) is Trust.TRUSTED]
    published = [key for key in trusted if _is_about_to_sign(key, now)]
    key = active_key(trusted, now)
    if published or key is None or now - key.active_at >= age:
        return next(iter(published), None)
    return key


def ensure_first_key(*, using: str) -> SigningKey | None:
    """Make the first key, active at once, if there is no key. Return it, or None if there was one.

    A key that was encrypted for another row does not count. One that can't be decrypted does: the process may
    have the wrong secrets.

    Two migrations at once may make two keys: the later one signs, and the next rotation retires both.
    """
    if using != write_database(SigningKey) or not _is_migrated(using):
        return None
    now = timezone.now()
    present = [key for key in SigningKey.objects.using(using) if not _has_come(key.retired_at, now)]
    if any(binding.trust(key) is not Trust.MISMATCHED for key in present):
        return None
    key = _generate(ciam_settings.SIGNING_ALGORITHM, now=now, active_at=now)
    key.is_provisional = True
    key.save(using=using, force_insert=True)
    forget()
    return key


def _is_migrated(using: str) -> bool:
    """Tell whether the table is as this version knows it; somebody may be migrating backwards."""
    connection, table = connections[using], SigningKey._meta.db_table
    with connection.cursor() as cursor:
        if table not in connection.introspection.table_names(cursor):
            return False
        present = {column.name for column in connection.introspection.get_table_description(cursor, table)}
    return {field.column for field in SigningKey._meta.local_concrete_fields} <= present


def _generate(algorithm: str, *, now: datetime, active_at: datetime) -> SigningKey:
    pem = jose.generate_private_key(algorithm)
    jwk: dict[str, Any] = jose.public_jwk(jose.parse_private_key(pem), algorithm)
    return SigningKey(
        kid=jwk["kid"],
        algorithm=algorithm,
        public_jwk=jwk,
        encrypted_private_key=binding.seal(pem, jwk),
        created_at=now,
        active_at=active_at,
    )
