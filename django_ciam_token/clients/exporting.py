"""Clients as other systems read them: the metadata of RFC 7591, and what has no name there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django_ciam_token.clients.secrets import is_live
from django_ciam_token.models import ApplicationType, Client


def export_client(client: Client, *, now: datetime, digests: bool = False) -> dict[str, Any]:
    """Return a client's metadata (RFC 7591 §2, OpenID Connect RP-Initiated Logout §3.1).

    Args:
        client: the client, with its secrets.
        now: the present.
        digests: add the digests of its live secrets, from which a secret can't be recovered.
    """
    live = [secret for secret in client.secrets.all() if is_live(secret, now)]
    members: dict[str, Any] = {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.created_at.timestamp()),
        "client_name": client.name,
        "application_type": "native" if client.application_type == ApplicationType.MOBILE else "web",
        "scope": client.scope,
        "grant_types": _grant_types(client),
        "response_types": ["code"] if client.redirect_uris.split() else [],
        "redirect_uris": client.redirect_uris.split(),
        "post_logout_redirect_uris": client.post_logout_redirect_uris.split(),
        "token_endpoint_auth_method": "client_secret_basic" if live else "none",
        # No names of an RFC.
        "type": str(client.application_type),
        "is_active": client.is_active,
        "allowed_origins": client.allowed_origins.split(),
        "audience": client.audience,
        "asks_consent": client.asks_consent,
        "requires_pkce": client.must_use_pkce,
        "may_introspect": client.may_introspect,
    }
    if digests:
        members["secret_digests"] = [secret.secret_digest for secret in live]
    return members


def _grant_types(client: Client) -> list[str]:
    granted = {
        "authorization_code": bool(client.redirect_uris.split()),
        "refresh_token": client.refresh_tokens_enabled,
        "client_credentials": client.grants_client_credentials,
    }
    return [name for name, is_granted in granted.items() if is_granted]
