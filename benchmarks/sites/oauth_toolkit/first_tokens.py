"""Its codes and client credentials."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.urls import include, path
from django.utils import timezone
from oauth2_provider.models import Application, Grant

from benchmarks.seed import CODE_CHALLENGE, REDIRECT_URI, credentials_form, exchange_form

urlpatterns = [path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]


def targets(sessions: int) -> dict[str, dict[str, Any]]:
    """Fill the database; return the requests by what they measure."""
    user = get_user_model().objects.create_user("alice", password="correct horse")
    secret = secrets.token_urlsafe(32)
    portal = _application("portal", secret, Application.GRANT_AUTHORIZATION_CODE)
    _application("machine", secret, Application.GRANT_CLIENT_CREDENTIALS)

    def exchanges(number: int) -> list[str]:
        return [exchange_form("portal", secret, code()) for _ in range(number)]

    def code() -> str:
        code = secrets.token_urlsafe(32)
        Grant.objects.create(
            user=user,
            code=code,
            application=portal,
            expires=timezone.now() + timedelta(minutes=10),
            redirect_uri=REDIRECT_URI,
            scope="openid",
            code_challenge=CODE_CHALLENGE,
            code_challenge_method="S256",
            nonce="nonce",
        )
        return code

    return {
        "exchange": {"path": "/o/token/", "fresh_forms": exchanges},
        "client credentials": {"path": "/o/token/", "forms": [credentials_form("machine", secret)]},
    }


def _application(client_id: str, secret: str, grant_type: str) -> Any:
    return Application.objects.create(
        client_id=client_id,
        client_secret=secret,
        name=client_id,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=grant_type,
        redirect_uris=REDIRECT_URI,
        algorithm=Application.RS256_ALGORITHM,
    )
