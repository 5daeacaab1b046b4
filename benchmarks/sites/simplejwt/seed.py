"""A refresh token for each chain; there are no clients."""

from __future__ import annotations

from typing import Any

from benchmarks.seed import migrate


def target(chains: int) -> dict[str, Any]:
    """Fill the database."""
    migrate()
    from django.contrib.auth import get_user_model
    from rest_framework_simplejwt.tokens import RefreshToken

    user = get_user_model().objects.create_user("alice", password="correct horse")
    return {
        "path": "/token/refresh",
        "content_type": "application/json",
        "prefix": '{"refresh": "',
        "suffix": '"}',
        "token_pattern": '"refresh": ?"([^"]+)"',
        "tokens": [str(RefreshToken.for_user(user)) for _ in range(chains)],
    }
