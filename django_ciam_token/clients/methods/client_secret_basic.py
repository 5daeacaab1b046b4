"""``client_secret_basic``: client_id and secret in the Authorization header (RFC 6749 §2.3.1, RFC 7617)."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_plus

from django_ciam_token.clients.methods.base import Credentials
from django_ciam_token.clients.methods.none import NO_AUTHENTICATION
from django_ciam_token.clients.methods.secret import SecretMethod
from django_ciam_token.concealed import Concealed, Parameters
from django_ciam_token.errors import InvalidClient, InvalidRequest


def uses_basic(authorization: str | None) -> bool:
    """Tell whether an Authorization header is of the Basic scheme, in any case (RFC 7617 §2)."""
    return authorization is not None and authorization.partition(" ")[0].lower() == "basic"


class ClientSecretBasic(SecretMethod):
    """A secret in the Authorization header."""

    name = "client_secret_basic"

    def is_used(self, authorization: str | None, parameters: Parameters) -> bool:
        """Tell whether there is a Basic header; a header of another scheme is not ours and is ignored."""
        return uses_basic(authorization)

    def read(self, authorization: str | None, parameters: Parameters) -> Credentials:
        """Return the credentials; a client_id in the form as well must be the same."""
        client_id, secret = _decode(authorization or "")
        if parameters.get("client_id", client_id) != client_id:
            raise InvalidRequest(
                "client_id differs from the one in the Authorization header",
                reason="client_id_mismatch",
            )
        if not secret:
            # Some libraries send "Basic id:" for a client that has no secret.
            return Credentials(NO_AUTHENTICATION, client_id)
        return Credentials(self, client_id, Concealed(secret))


def _decode(authorization: str) -> tuple[str, str]:
    try:
        encoded = authorization.partition(" ")[2].strip()
        client_id, colon, secret = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        # RFC 6749 §2.3.1: both were form-encoded before they were joined.
        client_id = unquote_plus(client_id, errors="strict")
        secret = unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        raise InvalidClient(reason="malformed_basic") from None
    if not client_id or not colon or "\x00" in client_id + secret:
        raise InvalidClient(reason="malformed_basic")
    return client_id, secret
