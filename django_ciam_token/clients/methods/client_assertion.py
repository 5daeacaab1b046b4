"""Client assertions (RFC 7523), which are recognised only to be refused."""

from __future__ import annotations

from django_ciam_token.clients.methods.base import Credentials
from django_ciam_token.clients.methods.secret import SecretMethod
from django_ciam_token.concealed import Parameters
from django_ciam_token.errors import InvalidClient


class ClientAssertion(SecretMethod):
    """A method that is not served: a client that relies on it must not be taken for a public one."""

    name = "private_key_jwt"
    parameter = "client_assertion"

    def is_used(self, authorization: str | None, parameters: Parameters) -> bool:
        """Tell whether there is an assertion in the form."""
        return "client_assertion" in parameters or "client_assertion_type" in parameters

    def read(self, authorization: str | None, parameters: Parameters) -> Credentials:
        """Refuse.

        Raises:
            InvalidClient: always.
        """
        raise InvalidClient(reason="unsupported_authentication_method")
