"""Client and token, with the columns of Authlib's documentation and an index on each column it looks up."""

from __future__ import annotations

import time
from typing import Any

from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oidc.core import AuthorizationCodeMixin
from django.conf import settings
from django.db import models


class OAuth2Client(models.Model, ClientMixin):
    """A client with its secret in plain text, as in the documentation."""

    client_id = models.CharField(max_length=48, unique=True)
    client_secret = models.CharField(max_length=48)
    scope = models.TextField(default="")
    user_id = None
    """Nobody in particular has registered it."""

    def get_client_id(self) -> str:
        """Return the client_id."""
        return self.client_id

    def get_allowed_scope(self, scope: str) -> str:
        """Return what is allowed of a scope."""
        return " ".join(name for name in scope.split() if name in self.scope.split())

    def check_client_secret(self, client_secret: str) -> bool:
        """Compare."""
        return self.client_secret == client_secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Allow the secret in the form."""
        return method == "client_secret_post"

    def check_grant_type(self, grant_type: str) -> bool:
        """Allow all that is measured."""
        return grant_type in ("refresh_token", "authorization_code", "client_credentials")


class OAuth2Token(models.Model, TokenMixin):
    """An access token and its refresh token; a new row for every refresh."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE)
    client_id = models.CharField(max_length=48, db_index=True)
    token_type = models.CharField(max_length=40)
    access_token = models.TextField()
    refresh_token = models.CharField(max_length=255, db_index=True)
    scope = models.TextField(default="")
    revoked = models.BooleanField(default=False)
    issued_at = models.IntegerField(default=time.time)
    expires_in = models.IntegerField(default=0)

    def check_client(self, client: Any) -> bool:
        """Tell whether the token is the client's."""
        return bool(self.client_id == client.client_id)

    def get_scope(self) -> str:
        """Return the scope."""
        return self.scope

    def get_expires_in(self) -> int:
        """Return the access token's lifetime in seconds."""
        return self.expires_in


class OAuth2Code(models.Model, AuthorizationCodeMixin):
    """An authorization code, until it is exchanged."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    client_id = models.CharField(max_length=48, db_index=True)
    code = models.CharField(max_length=120, unique=True)
    redirect_uri = models.TextField(default="")
    scope = models.TextField(default="")
    nonce = models.TextField(default="")
    auth_time = models.IntegerField(default=time.time)
    code_challenge = models.TextField(default="")
    code_challenge_method = models.CharField(max_length=48, default="")

    def get_redirect_uri(self) -> str:
        """Return where it was sent."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """Return the scope."""
        return self.scope

    def get_nonce(self) -> str:
        """Return the nonce."""
        return self.nonce

    def get_auth_time(self) -> int:
        """Return when the user signed in."""
        return self.auth_time

    def get_acr(self) -> None:
        """Say nothing."""

    def get_amr(self) -> None:
        """Say nothing."""
