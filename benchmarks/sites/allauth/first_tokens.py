"""Its codes and client credentials."""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import Any

from allauth.idp.oidc.models import Client, Token
from django.contrib.auth import get_user_model
from django.urls import include, path
from django.utils import timezone

from benchmarks.seed import CODE_CHALLENGE, REDIRECT_URI, credentials_form, exchange_form

urlpatterns = [path("accounts/", include("allauth.urls")), path("", include("allauth.idp.urls"))]


def targets(sessions: int) -> dict[str, dict[str, Any]]:
    """Fill the database; return the requests by what they measure."""
    user = get_user_model().objects.create_user("alice", password="correct horse")
    secret = secrets.token_urlsafe(32)
    kinds = Client.GrantType
    portal = _client("portal", secret, "openid", [kinds.AUTHORIZATION_CODE, kinds.REFRESH_TOKEN])
    _client("machine", secret, "profile", [kinds.CLIENT_CREDENTIALS])

    def exchanges(number: int) -> list[str]:
        return [exchange_form("portal", secret, code()) for _ in range(number)]

    def code() -> str:
        code = secrets.token_urlsafe(32)
        pkce = {"code_challenge": CODE_CHALLENGE, "code_challenge_method": "S256"}
        token = Token(
            client=portal,
            user=user,
            type=Token.Type.AUTHORIZATION_CODE,
            data={"claims": None, "claimed": False, "pkce": pkce},
            expires_at=timezone.now() + timedelta(minutes=1),
        )
        token.set_value(code)
        token.set_scopes(["openid"])
        token.set_grant_id(uuid.uuid4().hex)
        token.set_redirect_uri(REDIRECT_URI)
        token.set_nonce("nonce")
        token.save()
        return code

    return {
        "exchange": {"path": "/identity/o/api/token", "fresh_forms": exchanges},
        "client credentials": {
            "path": "/identity/o/api/token",
            "forms": [credentials_form("machine", secret)],
        },
    }


def _client(client_id: str, secret: str, scopes: str, grant_types: list[str]) -> Client:
    client = Client(id=client_id, name=client_id, scopes=scopes)
    client.set_secret(secret)
    client.set_grant_types(grant_types)
    client.set_redirect_uris([REDIRECT_URI])
    client.save()
    return client
