"""Keys that another system has signed with: published so that its tokens verify, or signing from now on."""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY
from django_ciam_token.crypto import foreign_key, jose
from django_ciam_token.crypto.foreign_key import UnusableKey
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.keys import binding
from django_ciam_token.keys.key_set import forget, require_right_secrets
from django_ciam_token.keys.signing_keys import store
from django_ciam_token.models import SigningKey

__all__ = ["UnusableKey", "import_signing_key"]

logger = logging.getLogger("django_ciam_token")

PUBLISHED_FOR: Final = timedelta(days=30)
_KID: Final = re.compile(r"[\x21-\x7e]{1,64}")


def import_signing_key(
    pem: bytes,
    *,
    kid: str | None = None,
    algorithm: str | None = None,
    is_active: bool = False,
    published_for: timedelta = PUBLISHED_FOR,
    now: datetime | None = None,
    actor: str = "",
) -> tuple[SigningKey, bool]:
    """Bring over a private key; return it, and whether it was new.

    Args:
        pem: the key, not encrypted.
        kid: what tokens and verifiers call it; None for its thumbprint (RFC 7638), which many systems use.
        algorithm: PS256 for an RSA key that does not sign by RS256.
        is_active: sign with it from now on: verifiers know it already. Otherwise it is published as a
            retired key, so that what it has signed verifies.
        published_for: how long a retired key stays in the JWK Set.
        now: the current time; by default the host's clock.
        actor: the user name of the person who did it, if it was a person.

    Raises:
        UnusableKey: the text is no key that this service signs with, the kid can't be used, or it belongs to
            another key.
        WrongSecrets: this process has other secrets than the active key was encrypted with.
        TemporarilyUnavailable: the database refused; the same call again is safe.
    """
    now = now or timezone.now()
    private = foreign_key.read_private_key(pem)
    del pem  # What follows may fail, and error reports have the variables.
    chosen = foreign_key.algorithm_of(private, algorithm)
    jwk = jose.public_jwk(private, chosen)
    if kid is not None:
        if not _KID.fullmatch(kid):
            raise UnusableKey("a kid has 1 to 64 printable ASCII characters without spaces")
        jwk = jose.in_order({**jwk, "kid": kid})
    require_right_secrets()
    using = write_database(SigningKey)
    present = SigningKey.objects.using(using).filter(kid=jwk["kid"])
    for known in retry(lambda _: list(present), using=using):
        if known.public_jwk != jwk:
            raise UnusableKey(f"there is another key with the kid {jwk['kid']}")
        return known, False
    key = SigningKey(
        kid=jwk["kid"],
        algorithm=chosen,
        public_jwk=jwk,
        encrypted_private_key=binding.seal(jose.private_pem(private), jwk),
        created_at=now,
        active_at=now,
        retired_at=None if is_active else now,
        removed_at=None if is_active else now + published_for,
    )
    retry(lambda _: _save(key, is_active=is_active, using=using), using=using)
    _report(key, actor=actor, using=using)
    return key, True


def _save(key: SigningKey, *, is_active: bool, using: str) -> None:
    if is_active:
        store(key, compromised_at=None, using=using)
        return
    with transaction.atomic(using=using):
        # If the outcome of an earlier COMMIT is unknown, it may be there already.
        if not SigningKey.objects.using(using).filter(kid=key.kid).exists():
            key.save(using=using, force_insert=True)


def _report(key: SigningKey, *, actor: str, using: str) -> None:
    transaction.on_commit(forget, using=using)
    logger.info(
        "Signing key %s (%s) imported, %s",
        key.kid,
        key.algorithm,
        "active" if key.retired_at is None else "retired",
        extra={"event": "signing_key_imported", "kid": key.kid},
    )
    if key.retired_at is None:
        signals.send_after_commit(
            signals.signing_key_rotated,
            sender=SigningKey,
            using=using,
            kid=key.kid,
            algorithm=key.algorithm,
            active_at=key.active_at,
            actor=actor,
            caller=NOBODY,
        )
