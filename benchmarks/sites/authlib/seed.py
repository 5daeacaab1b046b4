"""A client, and a token for each chain."""

from __future__ import annotations

import secrets
from typing import Any

from benchmarks.seed import form, migrate


def target(chains: int) -> dict[str, Any]:
    """Fill the database."""
    migrate()
    from django.contrib.auth import get_user_model
    from django.db import connection

    from benchmarks.sites.authlib.models import OAuth2Client, OAuth2Token

    with connection.schema_editor() as editor:
        editor.create_model(OAuth2Client)
        editor.create_model(OAuth2Token)
    user = get_user_model().objects.create_user("alice", password="correct horse")
    client_secret = secrets.token_hex(24)
    OAuth2Client.objects.create(client_id="portal", client_secret=client_secret, scope="openid")
    tokens = [secrets.token_hex(24) for _ in range(chains)]
    for token in tokens:
        OAuth2Token.objects.create(
            user=user,
            client_id="portal",
            token_type="Bearer",
            access_token=secrets.token_hex(24),
            refresh_token=token,
            scope="openid",
            expires_in=3600,
        )
    return {"path": "/oauth/token", "tokens": tokens, **form("portal", client_secret)}
