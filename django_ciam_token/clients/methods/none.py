"""``none``: a public client only says who it is (RFC 6749 §2.1, RFC 7591 §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django_ciam_token.clients.methods.base import Credentials, require_client_id
from django_ciam_token.clients.methods.secret import SecretMethod


class NoAuthentication(SecretMethod):
    """No proof at all; refused for a client that has a secret."""

    name = "none"
    is_confidential = False

    def is_used(self, authorization: str | None, parameters: Mapping[str, str]) -> bool:
        """Return False: it is what remains if no other method is used."""
        return False

    def read(self, authorization: str | None, parameters: Mapping[str, str]) -> Credentials:
        """Return the client_id of the form."""
        return Credentials(self, require_client_id(parameters))


NO_AUTHENTICATION: Final = NoAuthentication()
