"""Codes with PKCE and OpenID Connect, and client credentials, as Authlib's documentation shows."""

from __future__ import annotations

import secrets
from typing import Any

from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from django.contrib.auth import get_user_model
from django.db import connection

from benchmarks.seed import CODE_CHALLENGE, REDIRECT_URI, credentials_form, exchange_form
from benchmarks.sites.authlib.models import OAuth2Client, OAuth2Code, OAuth2Token
from benchmarks.sites.authlib.urls import KEY, server, urlpatterns

__all__ = ["targets", "urlpatterns"]


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """Exchanges codes."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]

    def query_authorization_code(self, code: str, client: OAuth2Client) -> OAuth2Code | None:
        """Find the code if it is the client's."""
        rows = OAuth2Code.objects.select_related("user")
        return rows.filter(code=code, client_id=client.client_id).first()

    def delete_authorization_code(self, authorization_code: OAuth2Code) -> None:
        """Prevent the code from being used again."""
        authorization_code.delete()

    def authenticate_user(self, authorization_code: OAuth2Code) -> Any:
        """Return the user if it is active."""
        user = authorization_code.user
        user.get_user_id = lambda: user.pk
        return user if user.is_active else None


class Code(OpenIDCode):  # type: ignore[misc]
    """Signs id_tokens."""

    def get_client_algorithm(self, client: OAuth2Client) -> str:
        """Return the algorithm."""
        return "RS256"

    def get_encode_header(self, client: OAuth2Client) -> dict[str, str]:
        """Return the header."""
        return {"alg": "RS256", "kid": "1"}

    def get_client_claims(self, client: OAuth2Client) -> dict[str, Any]:
        """Return the claims about the client."""
        return {"iss": "https://id.example.com", "aud": [client.client_id]}

    def resolve_client_private_key(self, client: OAuth2Client) -> Any:
        """Return the key, which was parsed once."""
        return KEY

    def generate_user_info(self, user: Any, scope: str) -> UserInfo:
        """Return the claims about the user."""
        return UserInfo(sub=str(user.pk))


class CredentialsGrant(ClientCredentialsGrant):  # type: ignore[misc]
    """Lets machines in."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]


server.register_grant(CodeGrant, [Code(), CodeChallenge(required=True)])
server.register_grant(CredentialsGrant)


def targets(sessions: int) -> dict[str, dict[str, Any]]:
    """Fill the database; return the requests by what they measure."""
    with connection.schema_editor() as editor:
        for model in (OAuth2Client, OAuth2Code, OAuth2Token):
            editor.create_model(model)
    user = get_user_model().objects.create_user("alice", password="correct horse")
    secret = secrets.token_hex(24)
    OAuth2Client.objects.create(client_id="portal", client_secret=secret, scope="openid")
    OAuth2Client.objects.create(client_id="machine", client_secret=secret, scope="profile")

    def exchanges(number: int) -> list[str]:
        return [exchange_form("portal", secret, code()) for _ in range(number)]

    def code() -> str:
        code = secrets.token_hex(24)
        OAuth2Code.objects.create(
            user=user,
            client_id="portal",
            code=code,
            redirect_uri=REDIRECT_URI,
            scope="openid",
            nonce="nonce",
            code_challenge=CODE_CHALLENGE,
            code_challenge_method="S256",
        )
        return code

    return {
        "exchange": {"path": "/oauth/token", "fresh_forms": exchanges},
        "client credentials": {"path": "/oauth/token", "forms": [credentials_form("machine", secret)]},
    }
