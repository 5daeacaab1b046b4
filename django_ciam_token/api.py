"""The Python interface for the host site: what its login views and management code call."""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from django_ciam_token.authorization.consent import list_consents
from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.clients.changes import update_client
from django_ciam_token.clients.registration import create_client
from django_ciam_token.clients.secrets import import_client_secret, rotate_client_secret
from django_ciam_token.keys.importing import import_signing_key
from django_ciam_token.keys.signing_keys import rotate as rotate_signing_key
from django_ciam_token.models import Client, RevocationReason
from django_ciam_token.purging import PurgeResult, purge
from django_ciam_token.sessions.consents import withdraw_consent
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.sessions.listing import SessionInfo, list_sessions
from django_ciam_token.sessions.revocation import revoke_sessions
from django_ciam_token.tokens.first_tokens import issue_first_tokens

__all__ = [
    "PurgeResult",
    "RevocationReason",
    "SessionCriteria",
    "SessionInfo",
    "create_client",
    "import_client_secret",
    "import_signing_key",
    "issue_tokens",
    "list_consents",
    "list_sessions",
    "purge",
    "revoke_sessions",
    "rotate_client_secret",
    "rotate_signing_key",
    "update_client",
    "withdraw_consent",
]


@sensitive_variables()
def issue_tokens(
    *,
    client: Client,
    user: AbstractBaseUser | None = None,
    scope: str | None = None,
    auth_time: datetime | None = None,
    request: HttpRequest | None = None,
) -> dict[str, str | int]:
    """Begin a session and return exactly what the token endpoint would answer.

    Call it once the user has proved who they are. It authenticates neither the client nor the user.

    Args:
        client: the client that gets the tokens.
        user: the user who signed in; None for a machine-to-machine client, which acts for itself.
        scope: names separated by spaces; None for everything that the client is allowed.
        auth_time: when the user proved who they are; None for now.
        request: the session's address and user agent are taken from it, if given.

    Raises:
        InvalidRequest: the user is missing, or was given for a machine-to-machine client.
        InvalidScope: the scope is malformed, or wider than the client is allowed.
        UnauthorizedClient: the client is not active.
        InvalidGrant: the user is disabled, or the setting ``ISSUANCE_POLICY`` refused.
        ServerError: there is no usable signing key.
        TemporarilyUnavailable: the database refused.
    """
    tokens = issue_first_tokens(
        client=client,
        user=user,
        scope=scope,
        auth_time=auth_time,
        caller=NOBODY if request is None else Caller.of(request),
        now=timezone.now(),
    )
    return tokens.members(timezone.now())
