"""The token endpoint: a JWT access token (RFC 9068) with a key parsed once, and rotation."""

from __future__ import annotations

from typing import Any

from authlib.common.security import generate_token
from authlib.integrations.django_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from joserfc.jwk import KeySet, RSAKey

from benchmarks.sites.authlib.models import OAuth2Client, OAuth2Token

KEY = RSAKey.import_key(settings.PRIVATE_KEY_PEM, {"kid": "1", "use": "sig", "alg": "RS256"})
_KEYS = KeySet([KEY])


class Generator(JWTBearerTokenGenerator):  # type: ignore[misc]
    """Signs access tokens."""

    def get_jwks(self) -> Any:
        """Return the key."""
        return _KEYS


class Grant(RefreshTokenGrant):  # type: ignore[misc]
    """Rotates."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> OAuth2Token | None:
        """Find the token if it is not revoked."""
        rows = OAuth2Token.objects.select_related("user")
        return rows.filter(refresh_token=refresh_token, revoked=False).first()

    def authenticate_user(self, refresh_token: OAuth2Token) -> Any:
        """Return the user if it is active."""
        user = refresh_token.user
        user.get_user_id = lambda: user.pk
        return user if user.is_active else None

    def revoke_old_credential(self, refresh_token: OAuth2Token) -> None:
        """Prevent the token from being used again."""
        OAuth2Token.objects.filter(pk=refresh_token.pk).update(revoked=True)


server = AuthorizationServer(OAuth2Client, OAuth2Token)
server.register_token_generator(
    "default",
    Generator(
        issuer="https://id.example.com",
        refresh_token_generator=lambda *args, **kwargs: generate_token(48),
    ),
)
server.register_grant(Grant)


@csrf_exempt
def token(request: HttpRequest) -> HttpResponse:
    """Answer a token request."""
    response: HttpResponse = server.create_token_response(request)
    return response


urlpatterns = [path("oauth/token", token)]
