"""The copy of the signing keys that each process uses.

A process reads the keys at most once per ``PROCESS_CACHE_LIFETIME``, and parses each key once. No process
has to read at the moment a graceful rotation takes effect: the new key was read long before, and the state
of every key follows from the clock.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import Error, connections
from django.db.models import Q
from django.utils import timezone

from django_ciam_token.crypto import jose, site_keys
from django_ciam_token.database.age import PAUSE_OF_READING, Instant
from django_ciam_token.database.local_time import after
from django_ciam_token.database.patience import impatient
from django_ciam_token.database.retry import best_effort, is_refusal, mend, retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.errors import ServerError, WrongSecrets
from django_ciam_token.keys import binding
from django_ciam_token.keys.binding import Trust
from django_ciam_token.models import SigningKey, SigningKeyState

logger = logging.getLogger("django_ciam_token")

_STALE: Final = {"event": "signing_keys_stale"}
_LONGEST_REQUEST: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class KeySet:
    """The keys of the site as this process last read them.

    A key whose row is not as this site has written it is none of them: it is not in the JWK Set, and no token
    is accepted because of it.
    """

    keys: tuple[SigningKey, ...]
    read_at: Instant
    undecryptable: tuple[SigningKey, ...] = field(default=(), repr=False)
    reported: frozenset[str] = field(default=frozenset(), repr=False)
    """The kids of the keys that are not trusted: each is logged once."""
    pairs: dict[str, jose.SigningKeyPair] = field(default_factory=dict, repr=False)
    verifying: dict[str, jose.VerifyingKey] = field(default_factory=dict, repr=False)

    def signing_pair(self, now: datetime) -> jose.SigningKeyPair:
        """Return the active key, parsed.

        Raises:
            ServerError: there is no active key.
            TemporarilyUnavailable: none of the site's secrets decrypts it.
        """
        self.require_right_secrets(now)
        # If a compromised key was replaced since this request began, the old one is gone, and at the instant
        # that the request goes by the new one was not active yet.
        key = active_key(self.keys, now) or active_key(self.keys, after(now, _LONGEST_REQUEST))
        if key is None:
            logger.error(
                "There is no active signing key; make one with: manage.py rotate_signing_key --now",
                extra={"event": "no_signing_key"},
            )
            raise ServerError(reason="no_signing_key")
        if key.kid not in self.pairs:
            self.pairs[key.kid] = _parse(key)
        if key.is_provisional:
            _note_first_use(key)
        return self.pairs[key.kid]

    def require_right_secrets(self, now: datetime) -> None:
        """Check that the site's secrets are those that the active key was encrypted with.

        A process that was started with the wrong secrets would call genuine refresh tokens forged, and
        applications would discard their sessions. What it wrote would be lost on the others: codes, keys, and
        what sessions keep of a password. If one active key can be decrypted, the secrets are right, and the
        row that can't be was written by somebody who lacks them.

        Raises:
            WrongSecrets: the secrets decrypt no active key, although there is one.
        """
        if self.undecryptable and active_key(self.keys, now) is None:
            key = active_key(self.undecryptable, now)
            if key is not None:
                raise _wrong_secrets(key)

    def jwk_set(self, now: datetime) -> dict[str, list[dict[str, str]]]:
        """Return the JWK Set (RFC 7517 §5): every key that was not removed.

        Raises:
            TemporarilyUnavailable: the site has the wrong secrets, and so can't tell which keys are its own.
        """
        return {"keys": [jose.in_order(key.public_jwk) for key in self._published(now)]}

    def verifying_key(self, kid: str, now: datetime) -> jose.VerifyingKey:
        """Return a key of the JWK Set, parsed.

        Raises:
            NotVerified: there is none with this kid.
            TemporarilyUnavailable: as `jwk_set`.
        """
        for key in self._published(now):
            if key.kid == kid:
                if kid not in self.verifying:
                    self.verifying[kid] = jose.VerifyingKey(key.public_jwk)
                return self.verifying[kid]
        raise jose.NotVerified("signed with a key that is not in the JWK Set")

    def algorithms(self, now: datetime) -> list[str]:
        """Return the algorithms of the keys in the JWK Set, the active key's first.

        Raises:
            TemporarilyUnavailable: as `jwk_set`.
        """
        ordered = sorted(self._published(now), key=lambda key: key.state(now) is not SigningKeyState.ACTIVE)
        return list(dict.fromkeys(key.algorithm for key in ordered))

    def _published(self, now: datetime) -> list[SigningKey]:
        self.require_right_secrets(now)
        return [key for key in self.keys if key.state(now) is not SigningKeyState.REMOVED]


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


def recent_copy() -> KeySet | None:
    """Return this process's copy, or None if there is none that may still be used; without a query."""
    cached = _key_sets.get(tenant_key(write_database(SigningKey)))
    return cached if cached is not None and cached.read_at.is_recent() else None


def read_again() -> KeySet:
    """Read the keys and keep them; in one attempt, for those who must not wait.

    Raises:
        Error: the database refused; the last copy stays.
    """
    using = write_database(SigningKey)
    tenant = tenant_key(using)
    fresh = _key_sets[tenant] = _read(using, previous=_key_sets.get(tenant))
    return fresh


def forget() -> None:
    """Drop this process's copies, so that the next use reads the database."""
    _key_sets.clear()


def require_right_secrets() -> None:
    """Check the site's secrets as `KeySet.require_right_secrets` does, by what the database has now.

    For what is done once in a while; the process's copy stays as it is.

    Raises:
        WrongSecrets: they decrypt no active key, although there is one.
        TemporarilyUnavailable: the keys can't be read.
    """
    using = write_database(SigningKey)
    copy = _key_sets.get(tenant_key(using))
    retry(lambda _: _read(using, previous=copy), using=using).require_right_secrets(timezone.now())


def active_key(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    """Return the key that signs: if several are active, the one that became active last."""
    active = [key for key in keys if key.state(now) is SigningKeyState.ACTIVE]
    return max(active, key=lambda key: (key.active_at, key.pk), default=None)


def _read(using: str, *, previous: KeySet | None) -> KeySet:
    read_at = Instant.now()  # Before the reading: it may take long.
    not_removed = Q(removed_at=None) | Q(removed_at__gt=timezone.now())
    found: dict[Trust, list[SigningKey]] = {trust: [] for trust in Trust}
    for key in SigningKey.objects.using(using).filter(not_removed):
        found[binding.trust(key)].append(key)
    keys = tuple(found[Trust.TRUSTED])
    pairs, verifying = (previous.pairs, previous.verifying) if previous else ({}, {})
    return KeySet(
        keys=keys,
        read_at=read_at,
        undecryptable=tuple(found[Trust.UNDECRYPTABLE]),
        reported=_report(found, known=previous.reported if previous else frozenset()),
        pairs={key.kid: pairs[key.kid] for key in keys if key.kid in pairs},
        verifying={key.kid: verifying[key.kid] for key in keys if key.kid in verifying},
    )


def _report(found: dict[Trust, list[SigningKey]], *, known: frozenset[str]) -> frozenset[str]:
    """Log the keys that are not trusted, but for those that have been; return all of their kids."""
    # With the wrong secrets no key can be decrypted, and each request says so.
    undecryptable = found[Trust.UNDECRYPTABLE] if found[Trust.TRUSTED] else []
    untrusted = {key.kid: Trust.MISMATCHED for key in found[Trust.MISMATCHED]}
    untrusted |= {key.kid: Trust.UNDECRYPTABLE for key in undecryptable}
    for kid in untrusted.keys() - known:
        logger.error(
            "Signing key %s is not trusted, and neither published nor accepted: its row is %s. "
            "manage.py check --database default says more",
            kid,
            untrusted[kid].value,
            extra={"event": "signing_key_not_trusted", "kid": kid, "reason": untrusted[kid].value},
        )
    return frozenset(untrusted)


def _parse(key: SigningKey) -> jose.SigningKeyPair:
    try:
        pem = binding.unseal(key)
    except site_keys.Undecryptable:
        raise _wrong_secrets(key) from None
    return jose.SigningKeyPair(kid=key.kid, algorithm=key.algorithm, private_key=jose.parse_private_key(pem))


def _note_first_use(key: SigningKey) -> None:
    """Write down that the key that `migrate` made has signed, so that it no longer gives way to others.

    Once in the life of a site. It hardly waits: if the row is locked, keys are being loaded.
    """
    using = write_database(SigningKey)
    row = SigningKey.objects.using(using).filter(pk=key.pk, is_provisional=True)
    write = partial(row.update, is_provisional=False)
    message, event = "The first use of signing key %s could not be noted: %s", "signing_key_use_not_noted"
    best_effort(write, message, key.kid, using=using, within=impatient, event=event, kid=key.kid)
    # Until the keys are read again.
    key.is_provisional = False


def _wrong_secrets(key: SigningKey) -> WrongSecrets:
    logger.error(
        "Signing key %s was encrypted with a secret that is not listed, so requests are answered 503. "
        "Was this process started with the wrong SECRET_KEY? List the secret again, in SECRET_KEY_FALLBACKS. "
        "Only if it is lost for good, make a new key with: manage.py rotate_signing_key --now",
        key.kid,
        extra={"event": "signing_key_undecryptable", "kid": key.kid},
    )
    return WrongSecrets("try again with the same parameters", reason="signing_key_undecryptable")
