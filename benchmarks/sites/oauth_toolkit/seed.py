"""A confidential application, and an access and refresh token for each chain."""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import Any

from benchmarks.seed import form, migrate


def target(chains: int) -> dict[str, Any]:
    """Fill the database."""
    migrate()
    from django.contrib.auth import get_user_model
    from django.utils import timezone
    from oauth2_provider.models import AccessToken, Application, RefreshToken

    user = get_user_model().objects.create_user("alice", password="correct horse")
    client_secret = secrets.token_urlsafe(32)
    application = Application.objects.create(
        client_id="portal",
        client_secret=client_secret,
        name="Portal",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris="https://app.example.com/cb",
        algorithm=Application.RS256_ALGORITHM,
    )
    tokens = [secrets.token_urlsafe(32) for _ in range(chains)]
    for token in tokens:
        access_token = AccessToken.objects.create(
            user=user,
            application=application,
            token=secrets.token_urlsafe(32),
            scope="openid",
            expires=timezone.now() + timedelta(seconds=300),
        )
        RefreshToken.objects.create(
            user=user,
            application=application,
            token=token,
            access_token=access_token,
            token_family=uuid.uuid4(),
        )
    return {"path": "/o/token/", "tokens": tokens, **form("portal", client_secret)}
