"""Client authentication (RFC 6749 §2.3): client_secret_basic, client_secret_post and none."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote_plus

from django.contrib.auth.hashers import check_password
from django.db import router, transaction
from django.db.models import Q
from django.views.decorators.debug import sensitive_variables

from django_ciam_token import signals
from django_ciam_token.callers import NOBODY, Caller
from django_ciam_token.errors import InvalidClient, InvalidRequest
from django_ciam_token.models import Client, ClientSecret
from django_ciam_token.reading import ClientReading, StoredSecret, read_client
from django_ciam_token.transactions import UNAVAILABLE, mend, retry

logger = logging.getLogger("django_ciam_token")

DIGEST_PREFIX: Final = "sha256$"
# Under which all client_ids are counted that do not exist: it is not one that a client can have.
UNKNOWN: Final = ""
_LAST_USE_IS_NOTED_EVERY: Final = timedelta(hours=1)
# Never equal to a digest: its hexadecimal part is no hexadecimal.
_NO_DIGEST: Final = DIGEST_PREFIX + "-" * 64


@dataclass(frozen=True)
class Credentials:
    """What a request claims; nothing of it has been checked."""

    client_id: str
    secret: str | None = field(repr=False)


def secret_digest(secret: str) -> str:
    """Return what is stored of a secret that the service drew.

    256 random bits can't be guessed, so a slow password hash would buy nothing and cost every refresh
    hundreds of milliseconds.
    """
    return DIGEST_PREFIX + hashlib.sha256(secret.encode()).hexdigest()


def _is_ours(stored: StoredSecret) -> bool:
    """Tell whether the service drew the secret; otherwise it was imported with its password hash."""
    return stored.digest.startswith(DIGEST_PREFIX)


def uses_basic(authorization: str | None) -> bool:
    """Tell whether an Authorization header is of the Basic scheme, in any case (RFC 7617 §2)."""
    return authorization is not None and authorization.partition(" ")[0].lower() == "basic"


@sensitive_variables()
def read_credentials(authorization: str | None, parameters: Mapping[str, str]) -> Credentials:
    """Find the one way in which a request authenticates its client.

    Args:
        authorization: the Authorization header; a scheme other than Basic is not ours and is ignored.
        parameters: of the form, each given once and not empty.

    Raises:
        InvalidRequest: client_id is missing, or more than one method was used (RFC 6749 §2.3).
        InvalidClient: the Basic header is malformed, or the method is one that is not served.
    """
    in_body = parameters.get("client_id")
    secret = parameters.get("client_secret")
    asserted = "client_assertion" in parameters or "client_assertion_type" in parameters
    if uses_basic(authorization):
        if secret is not None or asserted:
            raise InvalidRequest(
                "use one way of client authentication: the Authorization header or the form, not both",
                reason="several_authentication_methods",
            )
        basic = _read_basic(authorization or "")
        if in_body is not None and in_body != basic.client_id:
            raise InvalidRequest(
                "client_id differs from the one in the Authorization header",
                reason="client_id_mismatch",
            )
        return basic
    if asserted:
        if secret is not None:
            raise InvalidRequest(
                "use one way of client authentication: client_secret or client_assertion, not both",
                reason="several_authentication_methods",
            )
        raise InvalidClient(reason="unsupported_authentication_method")
    if in_body is None:
        raise InvalidRequest("client_id is missing; send it in the form body", reason="missing_client_id")
    return Credentials(client_id=in_body, secret=secret)


def authenticate(
    credentials: Credentials,
    *,
    now: datetime,
    caller: Caller = NOBODY,
    is_within_limit: Callable[[str], bool] = lambda bucket: True,
) -> Client:
    """Return the client whose credentials these are; see `authenticate_and_read`."""
    return authenticate_and_read(credentials, now=now, caller=caller, is_within_limit=is_within_limit).client


@sensitive_variables()
def authenticate_and_read(
    credentials: Credentials,
    *,
    session_id: uuid.UUID | None = None,
    now: datetime,
    caller: Caller = NOBODY,
    is_within_limit: Callable[[str], bool] = lambda bucket: True,
) -> ClientReading:
    """Return the client whose credentials these are, and what was read along with it.

    An unknown client costs the same query and the same comparison as a wrong secret, and every failure
    looks the same from outside.

    Args:
        credentials: what the request claims.
        session_id: of a session that the request is going to need if it is authentic; to have it read in the
            statement that reads the client saves one.
        now: the present.
        caller: from where the request came.
        is_within_limit: whether a client_id (empty for all unknown ones) has not failed too often of late.
            Past the limit, secrets brought from elsewhere, which may be guessable and are slow to check, are
            not tried, and failures are not told of. Not asked when a client with a secret of ours succeeds.

    Raises:
        InvalidClient: they are wrong; the reason is logged and signalled.
        TemporarilyUnavailable: the database refused.
    """
    using = _database()
    reading = retry(
        lambda: read_client(credentials.client_id, using=using, session_id=session_id), using=using
    )
    client, secrets = (None, ()) if reading is None else (reading.client, reading.secrets)
    bucket = UNKNOWN if client is None else client.client_id
    failure, secret = _check(client, secrets, credentials.secret, now, lambda: is_within_limit(bucket))
    if reading is not None and failure is None:
        has_waited = secret is not None and _note_use(secret, now)
        if all(map(_is_ours, secrets)) and not has_waited:
            return reading
        # A password hash, or a lock, takes so long that what was read of the session may have changed.
        return replace(reading, session=None)
    reason = failure or "unknown_client"
    # What an unknown client sent as its name might be anything, a secret in the wrong field included.
    known = client.client_id if client is not None else None
    logger.warning(
        "Client authentication failed for %s: %s",
        known or "an unknown client_id",
        reason,
        extra={"event": "client_authentication_failed", "client_id": known, "reason": reason},
    )
    if is_within_limit(bucket):
        # Otherwise anybody could fill the audit trail.
        signals.send_after_commit(
            signals.client_authentication_failed,
            sender=Client,
            using=_database(),
            client_id=known,
            reason=reason,
            caller=caller,
        )
    raise InvalidClient(reason=reason)


def _database() -> str:
    return router.db_for_write(Client)


def _check(
    client: Client | None,
    secrets: Sequence[StoredSecret],
    presented: str | None,
    now: datetime,
    may_try_imported: Callable[[], bool],
) -> tuple[str | None, StoredSecret | None]:
    """Return why the client is refused, or None and which secret it has shown, if it has any.

    The work does not depend on whether the client exists.
    """
    live = [stored for stored in secrets if stored.expires_at is None or stored.expires_at > now]
    tried = [stored for stored in live if _is_ours(stored) or may_try_imported()]
    matched = [stored for stored in tried if _matches(presented or "", stored.digest)]
    if not tried:
        _matches(presented or "", _NO_DIGEST)
    if client is None:
        return "unknown_client", None
    if not client.is_active:
        return "client_disabled", None
    if not secrets and not client.must_have_secret:
        # Public. A secret that nobody gave it is refused like a wrong one.
        return (None if presented is None else "unexpected_secret"), None
    if presented is None:
        return "missing_secret", None
    if matched:
        return None, matched[0]
    return _explain(secrets, presented, now), None


def _note_use(secret: StoredSecret, now: datetime) -> bool:
    """Write down that a secret is in use, so that an operator sees whether a replaced one still is.

    At most once an hour for each secret, and only for what it is worth: a refresh does not fail for it.
    Tells whether it tried to write, and so may have waited for another request.
    """
    if secret.last_used_at is not None and now - secret.last_used_at < _LAST_USE_IS_NOTED_EVERY:
        return False
    using = _database()
    is_due = Q(last_used_at=None) | Q(last_used_at__lte=now - _LAST_USE_IS_NOTED_EVERY)
    try:
        # Of many requests at once, one writes: the condition is part of the UPDATE.
        with transaction.atomic(using=using):
            ClientSecret.objects.using(using).filter(is_due, pk=secret.pk).update(last_used_at=now)
    except UNAVAILABLE as error:
        mend(using)
        logger.warning(
            "The use of a client secret could not be noted: %s",
            type(error).__name__,
            extra={"event": "client_secret_use_not_noted"},
        )
    return True


def _explain(secrets: Sequence[StoredSecret], presented: str, now: datetime) -> str:
    """Say what an operator would want to know about a wrong secret; without any slow hash."""
    digest = secret_digest(presented)
    for stored in secrets:
        if hmac.compare_digest(presented.encode(), stored.digest.encode()):
            return "stored_digest_presented"
        if hmac.compare_digest(digest.encode(), stored.digest.encode()):
            return "expired_secret"
    return "wrong_secret"


def _matches(presented: str, digest: str) -> bool:
    if digest.startswith(DIGEST_PREFIX):
        return hmac.compare_digest(secret_digest(presented), digest)
    # Brought along from elsewhere, with the password hash it had there.
    return check_password(presented, digest)


def _read_basic(authorization: str) -> Credentials:
    try:
        encoded = authorization.partition(" ")[2].strip()
        client_id, colon, secret = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        # RFC 6749 §2.3.1: both were form-encoded before they were joined.
        client_id = unquote_plus(client_id, errors="strict")
        secret = unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        raise InvalidClient(reason="malformed_basic") from None
    if not client_id or not colon or "\x00" in client_id + secret:
        raise InvalidClient(reason="malformed_basic")
    return Credentials(client_id=client_id, secret=secret or None)
