"""The life of signing keys, and the copy of them that each process works with.

A process reads the keys at most once per ``SIGNING_KEY_CACHE_LIFETIME``, and parses a key once in its
life. A graceful rotation needs no reading at the moment it takes effect: the new key was read long
before, and the state of every key follows from the clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connections, router, transaction
from django.db.models import Max, Q
from django.utils import timezone

from django_ciam_token import jose, keyring, signals
from django_ciam_token.callers import NOBODY, Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import ServerError
from django_ciam_token.models import Client, SigningKey, SigningKeyState
from django_ciam_token.transactions import UNAVAILABLE, retry

logger = logging.getLogger("django_ciam_token")

# Seconds until the next reading out of turn: while the database is away, or for an unknown kid.
_PAUSE_OF_READING: Final = 5.0
_STALE: Final = {"event": "signing_keys_stale"}
# Verifiers may allow for clocks that go wrong by this much, so tokens outlive their exp by it.
_LEEWAY: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class KeySet:
    """The keys of the site as this process last read them."""

    keys: tuple[SigningKey, ...]
    read_at: float
    """By the monotonic clock, in seconds."""
    pairs: dict[str, jose.SigningKeyPair] = field(default_factory=dict, repr=False)

    def signing_pair(self, now: datetime) -> jose.SigningKeyPair:
        """Return the active key, parsed.

        Raises:
            ServerError: there is none, or none of the site's secrets decrypts it.
        """
        key = active_key(self.keys, now)
        if key is None:
            logger.error(
                "There is no active signing key; make one with: manage.py rotate_signing_key --now",
                extra={"event": "no_signing_key"},
            )
            raise ServerError(reason="no_signing_key")
        if key.kid not in self.pairs:
            self.pairs[key.kid] = _parse(key)
        return self.pairs[key.kid]

    def jwk_set(self, now: datetime) -> dict[str, list[dict[str, str]]]:
        """Return the JWK Set (RFC 7517 §5): every key that is not removed."""
        published = (key for key in self.keys if key.state(now) is not SigningKeyState.REMOVED)
        return {"keys": [jose.in_order(key.public_jwk) for key in published]}

    def verification_keys(self, now: datetime) -> dict[str, dict[str, str]]:
        """Return the JWK Set by kid."""
        return {key["kid"]: key for key in self.jwk_set(now)["keys"]}

    def algorithms(self, now: datetime) -> list[str]:
        """Return the algorithms of the keys in the JWK Set, the active key's first."""
        ordered = sorted(self.keys, key=lambda key: key.state(now) is not SigningKeyState.ACTIVE)
        return list(
            dict.fromkeys(key.algorithm for key in ordered if key.state(now) is not SigningKeyState.REMOVED)
        )


_key_sets: dict[str, KeySet] = {}


def database() -> str:
    """Return the alias of the database that signing keys are written to, and read from."""
    return router.db_for_write(SigningKey)


def current() -> KeySet:
    """Return the keys, read from the database if this process's copy has grown old.

    While the database is away the old copy goes on being used: verifiers must be able to fetch the JWK Set.

    Raises:
        TemporarilyUnavailable: the database refused, and there is no old copy.
    """
    using = database()
    cached = _key_sets.get(using)
    lifetime = ciam_settings.SIGNING_KEY_CACHE_LIFETIME.total_seconds()
    if cached is not None and time.monotonic() - cached.read_at < lifetime:
        return cached
    if cached is None:
        fresh = retry(lambda: _read(using, previous=None), using=using)
    else:
        try:
            fresh = _read(using, previous=cached)
        except UNAVAILABLE:
            if connections[using].in_atomic_block:
                raise
            logger.warning("The signing keys can't be read; the old copy is used on", extra=_STALE)
            fresh = replace(cached, read_at=time.monotonic() - lifetime + _PAUSE_OF_READING)
    _key_sets[using] = fresh
    return fresh


def knowing(kid: str | None) -> KeySet:
    """Return the keys, read anew if a kid is not among them: another process may have just made it.

    Anybody can send an unknown kid, so it is done at most once in a few seconds.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    cached = current()
    is_known = any(key.kid == kid for key in cached.keys)
    if is_known or time.monotonic() - cached.read_at < _PAUSE_OF_READING:
        return cached
    using = database()
    fresh = retry(lambda: _read(using, previous=cached), using=using)
    _key_sets[using] = fresh
    return fresh


def forget() -> None:
    """Drop this process's copy, so that the next use reads the database."""
    _key_sets.clear()


def active_key(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    """Return the key that signs: of several, the one that became active last."""
    active = [key for key in keys if key.state(now) is SigningKeyState.ACTIVE]
    return max(active, key=lambda key: (key.active_at, key.pk), default=None)


def rotate(
    *,
    algorithm: str | None = None,
    immediately: bool = False,
    compromised: bool = False,
    now: datetime | None = None,
    actor: str = "",
    caller: Caller = NOBODY,
) -> SigningKey:
    """Make a new signing key and retire those before it.

    Args:
        algorithm: RS256, PS256, ES256 or EdDSA; the setting ``SIGNING_ALGORITHM`` if None.
        immediately: sign with it at once. Verifiers that hold an older JWK Set refuse its tokens until
            they fetch again; otherwise it is published ``SIGNING_KEY_LEAD`` before it signs.
        compromised: as ``immediately``, and take the older keys out of the JWK Set at once: whatever
            they signed is refused from then on.
        now: the present, by default the host's clock.
        actor: who did it, if it was a person: a user name.
        caller: from where the request came.

    Raises:
        ValueError: the algorithm is unknown.
        TemporarilyUnavailable: the database refused; if a COMMIT broke, there may be a new key all the same.
    """
    now = now or timezone.now()
    algorithm = algorithm or ciam_settings.SIGNING_ALGORITHM
    active_at = now if immediately or compromised else now + ciam_settings.SIGNING_KEY_LEAD
    using = database()
    # Generating takes a while, so it is done before anything is locked.
    key = _generate(algorithm, now=now, active_at=active_at)

    def write() -> None:
        stays = _longest_token_lifetime() + ciam_settings.SIGNING_KEY_CACHE_LIFETIME + _LEEWAY
        removed_at = now if compromised else active_at + stays
        with transaction.atomic(using=using):
            older = SigningKey.objects.using(using)
            # Two rotations at once: the second waits for the oldest row, the same for both, and then
            # retires the first one's key as well.
            list(older.select_for_update().order_by("pk").values_list("pk")[:1])
            # After a COMMIT whose outcome is unknown the key may be there already.
            if older.filter(kid=key.kid).exists():
                return
            if compromised:
                older.exclude(removed_at__lte=now).update(removed_at=now)
            older.filter(Q(retired_at=None) | Q(retired_at__gt=active_at)).update(
                retired_at=active_at, removed_at=removed_at
            )
            key.pk = None
            key.save(using=using, force_insert=True)

    retry(write, using=using)
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


def remove_retired(*, kids: Collection[str] | None = None, now: datetime | None = None) -> int:
    """Take the retired keys out of the JWK Set before their time; return how many.

    Whatever they signed is refused from then on, by this site at once and by verifiers when they fetch the
    JWK Set again. A key that signs, or is about to, stays.

    Args:
        kids: only of these; of all if None.
        now: the present, by default the host's clock.

    Raises:
        TemporarilyUnavailable: the database refused; if a COMMIT broke, they may be removed all the same.
    """
    now = now or timezone.now()
    using = database()
    chosen = SigningKey.objects.using(using).filter(retired_at__lte=now)
    if kids is not None:
        chosen = chosen.filter(kid__in=kids)
    retired = chosen.filter(Q(removed_at=None) | Q(removed_at__gt=now))
    attempts = 0

    def write() -> int:
        nonlocal attempts
        attempts += 1
        with transaction.atomic(using=using):
            removed = retired.update(removed_at=now)
        # After a COMMIT whose outcome is unknown they may be removed already, by this very statement.
        return chosen.filter(removed_at=now).count() if attempts > 1 else removed

    removed = retry(write, using=using)
    transaction.on_commit(forget, using=using)
    logger.info("%d signing keys removed", removed, extra={"event": "signing_keys_removed"})
    return removed


def overdue_key(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    """Return the active key if it has been signing for longer than ``SIGNING_KEY_MAX_AGE``.

    None while its successor is published already: what had to be done is done.
    """
    known = list(keys)
    key, max_age = active_key(known, now), ciam_settings.SIGNING_KEY_MAX_AGE
    if key is None or max_age is None or now - key.active_at <= max_age:
        return None
    return None if any(other.state(now) is SigningKeyState.PUBLISHED for other in known) else key


def ensure_signing_key(*, using: str) -> SigningKey | None:
    """Make the first key, active at once, if there is none; return it, or None if there was one.

    Two migrations at once may make two: the later one signs, and the next rotation retires both.
    """
    if using != database() or SigningKey._meta.db_table not in connections[using].introspection.table_names():
        return None
    now = timezone.now()
    if SigningKey.objects.using(using).filter(Q(retired_at=None) | Q(retired_at__gt=now)).exists():
        return None
    key = _generate(ciam_settings.SIGNING_ALGORITHM, now=now, active_at=now)
    key.save(using=using, force_insert=True)
    forget()
    return key


def is_decryptable(key: SigningKey) -> bool:
    """Tell whether any of the site's secrets decrypts the private key."""
    try:
        keyring.decrypt(key.encrypted_private_key, purpose=keyring.SIGNING_KEY)
    except keyring.Undecryptable:
        return False
    return True


def _read(using: str, *, previous: KeySet | None) -> KeySet:
    not_removed = Q(removed_at=None) | Q(removed_at__gt=timezone.now())
    keys = tuple(SigningKey.objects.using(using).filter(not_removed))
    kept = previous.pairs if previous else {}
    pairs = {key.kid: kept[key.kid] for key in keys if key.kid in kept}
    return KeySet(keys=keys, read_at=time.monotonic(), pairs=pairs)


def _parse(key: SigningKey) -> jose.SigningKeyPair:
    try:
        pem = keyring.decrypt(key.encrypted_private_key, purpose=keyring.SIGNING_KEY)
    except keyring.Undecryptable:
        logger.error(
            "Signing key %s was encrypted with a secret that is no longer listed; list it again in "
            "SECRET_KEY_FALLBACKS, or make a new key with: manage.py rotate_signing_key --now",
            key.kid,
            extra={"event": "signing_key_undecryptable", "kid": key.kid},
        )
        raise ServerError(reason="signing_key_undecryptable") from None
    return jose.SigningKeyPair(kid=key.kid, algorithm=key.algorithm, private_key=jose.parse_private_key(pem))


def _generate(algorithm: str, *, now: datetime, active_at: datetime) -> SigningKey:
    pem = jose.generate_private_key(algorithm)
    jwk: dict[str, Any] = jose.public_jwk(jose.parse_private_key(pem), algorithm)
    return SigningKey(
        kid=jwk["kid"],
        algorithm=algorithm,
        public_jwk=jwk,
        encrypted_private_key=keyring.encrypt(pem, purpose=keyring.SIGNING_KEY),
        created_at=now,
        active_at=active_at,
    )


def _longest_token_lifetime() -> timedelta:
    clients = Client.objects.using(router.db_for_write(Client))
    longest = clients.aggregate(Max("access_token_lifetime"), Max("id_token_lifetime"))
    lifetimes: list[timedelta] = [lifetime for lifetime in longest.values() if lifetime is not None]
    return max(ciam_settings.ACCESS_TOKEN_LIFETIME, ciam_settings.ID_TOKEN_LIFETIME, *lifetimes)
