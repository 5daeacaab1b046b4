"""``client_secret_post``: client_id and secret in the form (RFC 6749 §2.3.1)."""

from __future__ import annotations

from django_ciam_token.clients.methods.base import Credentials, require_client_id
from django_ciam_token.clients.methods.secret import SecretMethod
from django_ciam_token.concealed import Concealed, Parameters


class ClientSecretPost(SecretMethod):
    """A secret in the form."""

    name = "client_secret_post"
    parameter = "client_secret"

    def is_used(self, authorization: str | None, parameters: Parameters) -> bool:
        """Tell whether there is a client_secret in the form."""
        return "client_secret" in parameters

    def read(self, authorization: str | None, parameters: Parameters) -> Credentials:
        """Return the credentials."""
        return Credentials(self, require_client_id(parameters), Concealed(parameters["client_secret"]))
