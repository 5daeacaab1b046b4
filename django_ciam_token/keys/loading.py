"""Keys that are loaded by ``loaddata``: the key that ``migrate`` has just made gives way to them.

A site moves its database by ``dumpdata``, ``migrate`` and ``loaddata``. Without this it would sign with a key
that no verifier knows, because that is the one that became active last.
"""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.db.models.signals import post_save
from django.utils import timezone

from django_ciam_token.database.local_time import after
from django_ciam_token.keys import binding
from django_ciam_token.keys.binding import Trust
from django_ciam_token.keys.key_set import forget
from django_ciam_token.keys.signing_keys import published_after_retirement
from django_ciam_token.models import SigningKey, SigningKeyState

logger = logging.getLogger("django_ciam_token")


def connect() -> None:
    """Let provisional keys give way to those that are loaded."""
    post_save.connect(_receive, sender=SigningKey, dispatch_uid="django_ciam_token.keys.loading")


def _receive(*, instance: SigningKey, raw: bool, using: str, **_: Any) -> None:
    if raw:
        # As the database has it: the values of a fixture may be with a time zone though the site has none.
        give_way(SigningKey.objects.using(using).get(pk=instance.pk), using=using)


def give_way(key: SigningKey, *, using: str) -> None:
    """Retire the keys that `migrate` made and that have signed nothing, if this one can sign instead.

    A key that has signed is left alone: the database is in use, and verifiers know its key. What retires
    stays published as any retired key does, because a process may be about to sign with its copy of it.

    Args:
        key: which came from elsewhere, and is in the database.
        using: the alias of that.
    """
    now = timezone.now()
    rows = SigningKey.objects.using(using)
    # This one does not give way to those that are loaded after it.
    rows.filter(pk=key.pk, is_provisional=True).update(is_provisional=False)
    if key.state(now) is not SigningKeyState.ACTIVE or binding.trust(key) is Trust.MISMATCHED:
        return
    retired = rows.filter(is_provisional=True).update(
        is_provisional=False, retired_at=now, removed_at=after(now, published_after_retirement())
    )
    if retired:
        logger.info(
            "Signing key %s was loaded, so the key that migrate made retires",
            key.kid,
            extra={"event": "provisional_signing_key_retired", "kid": key.kid},
        )
    transaction.on_commit(forget, using=using)
