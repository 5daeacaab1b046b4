"""The client-credentials grant (RFC 6749 §4.4): an application that acts for itself. No row is written."""

from __future__ import annotations

from typing import Final

from django_ciam_token import scopes
from django_ciam_token.errors import InvalidScope, UnauthorizedClient
from django_ciam_token.grants import TokenRequest
from django_ciam_token.models import Client
from django_ciam_token.tokens.claims import Subject
from django_ciam_token.tokens.first_tokens import issue_first_tokens, report_issued
from django_ciam_token.tokens.issuing import IssuedTokens, sign_tokens

# They are about a person who signed in.
_OF_PEOPLE: Final = frozenset({"openid", "offline_access"})


def issue_for_itself(request: TokenRequest) -> IssuedTokens:
    """Answer a token request; see `Grant`.

    Raises:
        UnauthorizedClient: the client may not use this grant.
        InvalidScope: the scope is malformed, about a person, or wider than the client is allowed.
        InvalidGrant: the setting ``ISSUANCE_POLICY`` says no.
        TemporarilyUnavailable: the database refused; the same request may be sent again.
    """
    client = request.client
    if not client.grants_client_credentials:
        raise UnauthorizedClient(
            "this application may not use client credentials; ask its operator",
            reason="client_credentials_disabled",
        )
    scope = _scope(client, request.parameters.get("scope"))
    if client.refreshes_client_credentials and client.refresh_tokens_enabled:
        return issue_first_tokens(
            client=client,
            user=None,
            scope=scope,
            auth_time=None,
            caller=request.caller,
            now=request.now,
        )
    subject = Subject(client=client, user=None, scope=scope, session_id=None, auth_time=None)
    tokens = IssuedTokens(signed=sign_tokens(subject, now=request.now), refresh_token=None)
    report_issued(None, client=client, user=None, caller=request.caller)
    return tokens


def _scope(client: Client, requested: str | None) -> tuple[str, ...]:
    allowed = tuple(name for name in client.scopes if name not in _OF_PEOPLE)
    if requested is None:
        return allowed
    try:
        return scopes.narrow(allowed, requested)
    except InvalidScope as error:
        if error.reason == "malformed_scope":
            raise
        described = " ".join(allowed) or "nothing but the token itself"
        raise InvalidScope(
            f"this application may be granted for itself: {described}", reason="scope_not_allowed"
        ) from None
