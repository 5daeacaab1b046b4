"""A confidential client with the scope ``openid``, and a session for each chain."""

from __future__ import annotations

from typing import Any

from benchmarks.seed import form, migrate


def target(chains: int) -> dict[str, Any]:
    """Fill the database."""
    migrate()
    from django.contrib.auth import get_user_model

    from django_ciam_token.api import issue_tokens
    from django_ciam_token.clients import create_client

    user = get_user_model().objects.create_user("alice", password="correct horse")
    client, secret = create_client(client_id="portal", name="Portal", application_type="web", scope="openid")
    assert secret is not None
    tokens = [issue_tokens(client=client, user=user)["refresh_token"] for _ in range(chains)]
    return {"path": "/oauth2/token", "tokens": tokens, **form("portal", secret)}
