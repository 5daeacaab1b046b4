"""What is stored: clients and their secrets, sessions, signing keys."""

from django_ciam_token.models.client import ApplicationType, Client, ClientSecret
from django_ciam_token.models.refresh_token import RefreshToken, RevocationReason
from django_ciam_token.models.signing_key import SigningKey, SigningKeyState

__all__ = [
    "ApplicationType",
    "Client",
    "ClientSecret",
    "RefreshToken",
    "RevocationReason",
    "SigningKey",
    "SigningKeyState",
]
