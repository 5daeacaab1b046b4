"""What is stored: clients and their secrets, sessions, signing keys."""

from django_ciam_token.models.client import ApplicationType, Client
from django_ciam_token.models.client_secret import ClientSecret
from django_ciam_token.models.consent import Consent
from django_ciam_token.models.foreign_token import ForeignToken
from django_ciam_token.models.refresh_count import RefreshCount
from django_ciam_token.models.refresh_refusal import RefreshRefusal
from django_ciam_token.models.refresh_token import RefreshToken, RevocationReason, SessionState
from django_ciam_token.models.revoked_access_token import RevokedAccessToken
from django_ciam_token.models.security_event import EventType, SecurityEvent
from django_ciam_token.models.signing_key import SigningKey, SigningKeyState

__all__ = [
    "ApplicationType",
    "Client",
    "ClientSecret",
    "Consent",
    "EventType",
    "ForeignToken",
    "RefreshCount",
    "RefreshRefusal",
    "RefreshToken",
    "RevocationReason",
    "RevokedAccessToken",
    "SecurityEvent",
    "SessionState",
    "SigningKey",
    "SigningKeyState",
]
