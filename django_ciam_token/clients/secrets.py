"""The secrets of clients: drawn, replaced without downtime, imported, and recognised."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.hashers import check_password, identify_hasher, make_password
from django.db import connections, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.local_time import after, is_past
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client, ClientSecret
from django_ciam_token.sessions.rows import StoredSecret

logger = logging.getLogger("django_ciam_token")

DIGEST_PREFIX: Final = "sha256$"
# The prefix lets secret scanners recognise it; all characters survive form-encoding unchanged.
SECRET_PREFIX: Final = "ciam_cs_"
_SECRET_BYTES: Final = 32
_LONGEST_DIGEST: Final = 255
# Characters. No slow hash is given more to work on.
_LONGEST_IMPORTED: Final = 1_024
# Characters of a secret that a generator must have drawn; with fewer, a fast digest might be guessed.
_SHORTEST_DRAWN: Final = 32


def secret_digest(secret: str) -> str:
    """Return what is stored of a secret that the service drew.

    256 random bits can't be guessed, so a slow password hash would buy nothing and cost every refresh
    hundreds of milliseconds.
    """
    return DIGEST_PREFIX + hashlib.sha256(secret.encode()).hexdigest()


def is_ours(stored: StoredSecret) -> bool:
    """Tell whether the service drew the secret; otherwise it was imported with its password hash."""
    return stored.digest.startswith(DIGEST_PREFIX)


def is_live(secret: StoredSecret | ClientSecret, now: datetime) -> bool:
    """Tell whether a secret has not ended."""
    return secret.expires_at is None or not is_past(secret.expires_at, now)


def matches(presented: Concealed, digest: str) -> bool:
    """Tell in constant time whether a secret belongs to a digest or to an imported password hash."""
    if digest.startswith(DIGEST_PREFIX):
        return hmac.compare_digest(presented.lend(secret_digest), digest)
    # Imported, with the password hash that it had elsewhere.
    return presented.lend(lambda secret: len(secret) <= _LONGEST_IMPORTED and _is_password(secret, digest))


def _is_password(secret: str, password_hash: str) -> bool:
    try:
        return check_password(secret, password_hash)
    except Exception as error:  # noqa: BLE001 - bcrypt raises for over 72 bytes, other hashers as they like
        # Without the traceback, whose frames have the secret.
        logger.error(
            "A client secret could not be compared with an imported password hash: %s",
            type(error).__name__,
            extra={"event": "client_secret_not_compared"},
        )
        return False


def add_first_secret(client: Client) -> Concealed:
    """Give a new client its secret and return it; it can't be recovered."""
    secret = _new_secret()
    _store_secret(client, secret, timezone.now())
    return secret


def rotate_client_secret(
    client: Client,
    *,
    overlap: timedelta | None = None,
    now: datetime | None = None,
    actor: str = "",
    caller: Caller = NOBODY,
) -> str:
    """Give a client a new secret and return it; it can't be recovered.

    The newest of its present secrets that has been used keeps working for the overlap, or the newest if none
    has been used; any other ends now, so there are never more than two.

    Args:
        client: confidential afterwards, even if it was public before.
        overlap: how long the present secret still works; the setting ``CLIENT_SECRET_OVERLAP`` if None.
        now: the present, by default the host's clock.
        actor: who did it, if it was a person: a user name.
        caller: where the request came from.

    Raises:
        TemporarilyUnavailable: the database refused. If a COMMIT broke, there may be a secret that nobody
            has seen, and the present one ends as was asked for; the same call again gives another.
    """
    return replace_client_secret(client, overlap=overlap, now=now, actor=actor, caller=caller).reveal()


def replace_client_secret(
    client: Client,
    *,
    overlap: timedelta | None = None,
    now: datetime | None = None,
    actor: str = "",
    caller: Caller = NOBODY,
) -> Concealed:
    """Do what `rotate_client_secret` does, and return the secret so that no error report can have it."""
    now = now or timezone.now()
    ends_at = after(now, ciam_settings.CLIENT_SECRET_OVERLAP if overlap is None else overlap)
    using = write_database(Client)
    secret = _new_secret()

    def write(_: int) -> None:
        with transaction.atomic(using=using):
            # Two rotations at once: the second waits here and then sees the first one's secret.
            _locked(client, using=using)
            # After a COMMIT whose outcome is unknown the new secret may be there already: replacing it
            # once more would end the one that the application uses.
            if client.secrets.using(using).filter(secret_digest=secret.lend(secret_digest)).exists():
                return
            _end_secrets(client, now=now, ends_at=ends_at, using=using)
            _store_secret(client, secret, now)

    retry(write, using=using)
    logger.info(
        "Client %s got a new secret; the one before works until %s at most",
        client.client_id,
        ends_at.isoformat(),
        extra={"event": "client_secret_rotated", "client_id": client.client_id},
    )
    signals.send_after_commit(
        signals.client_secret_rotated,
        sender=Client,
        using=using,
        client=client,
        replaced_expires_at=ends_at,
        actor=actor,
        caller=caller,
    )
    return secret


def import_client_secret(client: Client, password_hash: str) -> ClientSecret:
    """Let a client keep a secret from elsewhere, if only its Django password hash is known.

    Every refresh then costs what that hash costs; give the client a new secret when you can. Its present
    secrets end.

    Raises:
        ValueError: it is not a hash that this site's ``PASSWORD_HASHERS`` can check.
    """
    try:
        identify_hasher(password_hash).decode(password_hash)
    except Exception:  # noqa: BLE001 - hashers raise whatever their parsing raises, quoting what may be a secret
        raise ValueError(
            "not a password hash that PASSWORD_HASHERS can check, such as pbkdf2_sha256$…"
        ) from None
    if len(password_hash) > _LONGEST_DIGEST:
        raise ValueError(f"a password hash of more than {_LONGEST_DIGEST} characters")
    return _replace_secrets(client, password_hash, last_four="????")


@sensitive_variables()
def import_plain_secret(client: Client, secret: str) -> ClientSecret:
    """Let a client keep a secret from elsewhere that was stored in clear. Its present secrets end.

    A short one gets a password hash, because somebody may have chosen it.

    Raises:
        ValueError: it is longer than any that is accepted.
    """
    if len(secret) > _LONGEST_IMPORTED:
        raise ValueError(f"a secret of more than {_LONGEST_IMPORTED} characters")
    was_drawn = len(secret) >= _SHORTEST_DRAWN and len(set(secret)) >= _SHORTEST_DRAWN // 3
    digest = secret_digest(secret) if was_drawn else make_password(secret)
    return _replace_secrets(client, digest, last_four=secret[-4:] if was_drawn else "????")


def _replace_secrets(client: Client, digest: str, *, last_four: str) -> ClientSecret:
    now, using = timezone.now(), write_database(Client)
    with transaction.atomic(using=using):
        # A rotation at the same time would give a secret that ends here its former end back.
        _locked(client, using=using)
        _end_secrets(client, now=now, ends_at=now, using=using)
        return ClientSecret.objects.using(using).create(
            client=client, secret_digest=digest, last_four=last_four
        )


def _new_secret() -> Concealed:
    return Concealed(SECRET_PREFIX + secrets.token_urlsafe(_SECRET_BYTES))


def _locked(client: Client, *, using: str) -> Client:
    """Read a client, and let other rotations of its secrets wait."""
    # Sessions refer to the row: on PostgreSQL a stronger lock would keep users from signing in meanwhile.
    no_key = connections[using].features.has_select_for_no_key_update
    return Client.objects.using(using).select_for_update(no_key=no_key).get(pk=client.pk)


def _store_secret(client: Client, secret: Concealed, now: datetime) -> None:
    ClientSecret.objects.using(write_database(Client)).create(
        client=client,
        secret_digest=secret.lend(secret_digest),
        last_four=secret.reveal()[-4:],
        created_at=now,
    )


def secret_to_keep(live: Sequence[ClientSecret]) -> ClientSecret | None:
    """Return which of a client's live secrets, the newest first, stays in use after a rotation.

    A secret that was drawn but never reached the application (a second click, an answer that was lost) must
    not take the place of the one that the application works with.
    """
    used = (stored for stored in live if stored.last_used_at is not None)
    return next(used, live[0] if live else None)


def _end_secrets(client: Client, *, now: datetime, ends_at: datetime, using: str) -> None:
    """Let one live secret work until an instant, end the others, and forget those long ended."""
    present = ClientSecret.objects.using(using).filter(client=client)
    present.filter(expires_at__lte=now).delete()
    live = [stored for stored in present.order_by("-pk") if is_live(stored, now)]
    kept = secret_to_keep(live)
    for stored in live:
        end = ends_at if stored is kept else now
        stored.expires_at = end if stored.expires_at is None else min(end, stored.expires_at)
        stored.save(using=using, update_fields=["expires_at"])
