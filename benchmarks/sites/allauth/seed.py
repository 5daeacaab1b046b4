"""A confidential client, and a refresh token for each chain."""

from __future__ import annotations

import secrets
from typing import Any

from benchmarks.seed import form, migrate


def target(chains: int) -> dict[str, Any]:
    """Fill the database."""
    migrate()
    from allauth.idp.oidc.models import Client, Token
    from django.contrib.auth import get_user_model

    user = get_user_model().objects.create_user("alice", password="correct horse")
    client_secret = secrets.token_urlsafe(32)
    client = Client(id="portal", name="Portal", scopes="openid")
    client.set_secret(client_secret)
    client.set_grant_types([Client.GrantType.AUTHORIZATION_CODE, Client.GrantType.REFRESH_TOKEN])
    client.save()
    tokens = [secrets.token_urlsafe(64) for _ in range(chains)]
    for value in tokens:
        token = Token(type=Token.Type.REFRESH_TOKEN, client=client, user=user)
        token.set_value(value)
        token.set_scopes(["openid"])
        token.save()
    return {"path": "/identity/o/api/token", "tokens": tokens, **form("portal", client_secret)}
