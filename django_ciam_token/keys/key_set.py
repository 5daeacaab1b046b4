"""The copy of the signing keys that each process uses.

A process reads the keys at most once per ``PROCESS_CACHE_LIFETIME``, and parses each key once. No process
has to read at the moment a graceful rotation takes effect: the new key was read long before, and the state
of every key follows from the clock.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from django.db import Error, connections
from django.db.models import Q
from django.utils import timezone

from django_ciam_token.crypto import jose, site_keys
from django_ciam_token.database.age import PAUSE_OF_READING, Instant
from django_ciam_token.database.retry import is_refusal, mend, retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.errors import ServerError, TemporarilyUnavailable
from django_ciam_token.models import SigningKey, SigningKeyState

logger = logging.getLogger("django_ciam_token")

_STALE: Final = {"event": "signing_keys_stale"}


@dataclass(frozen=True)
class KeySet:
    """The keys of the site as this process last read them."""

    keys: tuple[SigningKey, ...]
    read_at: Instant
    pairs: dict[str, jose.SigningKeyPair] = field(default_factory=dict, repr=False)

    def signing_pair(self, now: datetime) -> jose.SigningKeyPair:
        """Return the active key, parsed.

        Raises:
            ServerError: there is no active key.
            TemporarilyUnavailable: none of the site's secrets decrypts it.
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

    def require_right_secrets(self, now: datetime) -> None:
        """Check that the site's secrets are those that the active key was encrypted with.

        A process that was started with the wrong secrets would call genuine refresh tokens forged, and
        applications would discard their sessions.

        Raises:
            TemporarilyUnavailable: none of the secrets decrypts the active key.
        """
        key = active_key(self.keys, now)
        if key is not None and key.kid not in self.pairs and not is_decryptable(key):
            raise _wrong_secrets(key)

    def jwk_set(self, now: datetime) -> dict[str, list[dict[str, str]]]:
        """Return the JWK Set (RFC 7517 §5): every key that was not removed."""
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


# By tenant: the key of one must never sign or publish for another.
_key_sets: dict[Hashable, KeySet] = {}


def current() -> KeySet:
    """Return the keys, read from the database if this process's copy is too old.

    While the database is unavailable, the last copy stays in use: verifiers must be able to fetch it.

    Raises:
        TemporarilyUnavailable: the database refused, and there is no copy yet.
    """
    using = write_database(SigningKey)
    tenant = tenant_key(using)
    cached = _key_sets.get(tenant)
    if cached is not None and cached.read_at.is_recent():
        return cached
    if cached is None:
        fresh = retry(lambda _: _read(using, previous=None), using=using)
    else:
        try:
            fresh = _read(using, previous=cached)
        except Error as error:
            if not is_refusal(error) or connections[using].in_atomic_block:
                raise
            mend(using, error)
            logger.warning("The signing keys can't be read; keeping the last copy", extra=_STALE)
            fresh = replace(cached, read_at=Instant.almost_outdated())
    _key_sets[tenant] = fresh
    return fresh


def knowing(kid: str | None) -> KeySet:
    """Return the keys, read again if this kid is unknown: another process may have just made it.

    Anybody can send an unknown kid, so this happens at most once every few seconds.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    cached = current()
    is_known = any(key.kid == kid for key in cached.keys)
    if is_known or cached.read_at.age() < PAUSE_OF_READING:
        return cached
    using = write_database(SigningKey)
    fresh = retry(lambda _: _read(using, previous=cached), using=using)
    _key_sets[tenant_key(using)] = fresh
    return fresh


def forget() -> None:
    """Drop this process's copies, so that the next use reads the database."""
    _key_sets.clear()


def active_key(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    """Return the key that signs: if several are active, the one that became active last."""
    active = [key for key in keys if key.state(now) is SigningKeyState.ACTIVE]
    return max(active, key=lambda key: (key.active_at, key.pk), default=None)


def is_decryptable(key: SigningKey) -> bool:
    """Tell whether any of the site's secrets decrypts the private key."""
    try:
        site_keys.decrypt(key.encrypted_private_key, purpose=site_keys.SIGNING_KEY)
    except site_keys.Undecryptable:
        return False
    return True


def _read(using: str, *, previous: KeySet | None) -> KeySet:
    read_at = Instant.now()  # Before the reading: it may take long.
    not_removed = Q(removed_at=None) | Q(removed_at__gt=timezone.now())
    keys = tuple(SigningKey.objects.using(using).filter(not_removed))
    kept = previous.pairs if previous else {}
    pairs = {key.kid: kept[key.kid] for key in keys if key.kid in kept}
    return KeySet(keys=keys, read_at=read_at, pairs=pairs)


def _parse(key: SigningKey) -> jose.SigningKeyPair:
    try:
        pem = site_keys.decrypt(key.encrypted_private_key, purpose=site_keys.SIGNING_KEY)
    except site_keys.Undecryptable:
        raise _wrong_secrets(key) from None
    return jose.SigningKeyPair(kid=key.kid, algorithm=key.algorithm, private_key=jose.parse_private_key(pem))


def _wrong_secrets(key: SigningKey) -> TemporarilyUnavailable:
    logger.error(
        "Signing key %s was encrypted with a secret that is not listed, so requests are answered 503. "
        "Was this process started with the wrong SECRET_KEY? List the secret again, in SECRET_KEY_FALLBACKS. "
        "Only if it is lost for good, make a new key with: manage.py rotate_signing_key --now",
        key.kid,
        extra={"event": "signing_key_undecryptable", "kid": key.kid},
    )
    return TemporarilyUnavailable("try again with the same parameters", reason="signing_key_undecryptable")
