"""What users allow applications: asked for, remembered, extended. `sessions.consents` takes it back."""

from __future__ import annotations

import hmac
import logging
from typing import Final

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.db.models import Model
from django.utils import timezone

from django_ciam_token import scopes, signals
from django_ciam_token.authorization.login import Login
from django_ciam_token.authorization.request import AuthorizationRequest
from django_ciam_token.caller import Caller
from django_ciam_token.crypto import site_keys
from django_ciam_token.database.retry import LostRace, read_rows, retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import Client, Consent
from django_ciam_token.sessions.consents import has_consent

logger = logging.getLogger("django_ciam_token")

_SEPARATOR: Final = "\n"


def must_ask(request: AuthorizationRequest, user: AbstractBaseUser) -> bool:
    """Tell whether the user has to be asked; a query if the client is one that asks.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    if "consent" in request.prompt:
        return True
    return not has_consent(user_id=user.pk, client=request.client, scope=request.scope)


def seal(request: AuthorizationRequest, user: AbstractBaseUser, login: Login) -> str:
    """Return what binds an answer to the question: this user, this login, this very request."""
    return site_keys.mac(_question(request, user, login), purpose=site_keys.CONSENT).hex()


def is_sealed(presented: str, request: AuthorizationRequest, user: AbstractBaseUser, login: Login) -> bool:
    """Tell whether an answer belongs to this question."""
    genuine = site_keys.macs(_question(request, user, login), purpose=site_keys.CONSENT)
    return any(hmac.compare_digest(presented.encode(), mac.hex().encode()) for mac in genuine)


def _question(request: AuthorizationRequest, user: AbstractBaseUser, login: Login) -> bytes:
    return _SEPARATOR.join((request.fingerprint().hex(), login.identifier, str(user.pk))).encode()


def give_consent(*, client: Client, user: AbstractBaseUser, scope: tuple[str, ...], caller: Caller) -> None:
    """Remember what a user has allowed a client, in addition to what they allowed before.

    Raises:
        InvalidGrant: the user or the client was deleted a moment ago.
        TemporarilyUnavailable: the database refused.
    """
    using = write_database(Consent)
    rows = Consent.objects.using(using)

    def write() -> bool:
        # Two tabs may answer at once: what either allows is kept.
        with transaction.atomic(using=using):
            consent = rows.select_for_update().filter(client=client, user_id=user.pk).first()
            if consent is None:
                rows.create(client_id=client.pk, user_id=user.pk, scope=" ".join(scope))
                return True
            earlier = consent.scopes
            consent.scope = " ".join(dict.fromkeys((*earlier, *scope)))
            consent.given_at = timezone.now()
            consent.save(using=using, update_fields=("scope", "given_at"))
            return not scopes.is_within(scope, earlier)

    def write_or_lose(attempt: int) -> bool:
        try:
            # After a COMMIT whose outcome is unknown nothing seems to be new, although it is.
            return write() or attempt > 1
        except IntegrityError:
            # Another tab was first, and has left a row to add to, or there is nobody left to give it.
            if not _are_here(client, user):
                raise InvalidGrant(reason="user_or_client_deleted") from None
            raise LostRace from None

    if not retry(write_or_lose, using=using):
        return
    fields = {"client_id": client.client_id, "scope": " ".join(scope)}
    logger.info("Consent given to %s", client.client_id, extra={"event": "consent_given", **fields})
    signals.send_after_commit(
        signals.consent_given,
        sender=Consent,
        using=using,
        client=client,
        user=user,
        scope=scope,
        caller=caller,
    )


def list_consents(*, user: AbstractBaseUser) -> list[Consent]:
    """Return what a user has allowed applications, each with its ``client``, ``scopes`` and ``given_at``.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    rows = Consent.objects.using(write_database(Consent)).filter(user_id=user.pk).select_related("client")
    return read_rows(rows.order_by("client__name", "pk"))


def _are_here(client: Client, user: AbstractBaseUser) -> bool:
    models: tuple[type[Model], ...] = (Client, get_user_model())
    return all(
        model._base_manager.using(write_database(model)).filter(pk=row.pk).exists()
        for model, row in zip(models, (client, user), strict=True)
    )
