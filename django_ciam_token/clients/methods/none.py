"""``none``: a public client only says who it is (RFC 6749 §2.1, RFC 7591 §2)."""

from __future__ import annotations

from typing import Final

from django_ciam_token.clients.methods.base import Credentials, require_client_id
from django_ciam_token.clients.methods.secret import SecretMethod
from django_ciam_token.concealed import Parameters


class NoAuthentication(SecretMethod):
    """No proof at all; refused for a client that has a secret."""

    name = "none"
    is_confidential = False

    def is_used(self, authorization: str | None, parameters: Parameters) -> bool:
        """Return False: it is what remains if no other method is used."""
        return False

    def read(self, authorization: str | None, parameters: Parameters) -> Credentials:
        """Return the client_id of the form."""
        return Credentials(self, require_client_id(parameters))


NO_AUTHENTICATION: Final = NoAuthentication()
