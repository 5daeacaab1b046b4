"""The console of the token service, in Django's admin.

No page shows anything secret, except a new client secret, once.
"""

from django_ciam_token.admin.clients import ClientAdmin
from django_ciam_token.admin.consents import ConsentAdmin
from django_ciam_token.admin.events import SecurityEventAdmin
from django_ciam_token.admin.sessions import RefreshTokenAdmin
from django_ciam_token.admin.signing_keys import SigningKeyAdmin
from django_ciam_token.admin.users import SessionsOfUserMixin

__all__ = [
    "ClientAdmin",
    "ConsentAdmin",
    "RefreshTokenAdmin",
    "SecurityEventAdmin",
    "SessionsOfUserMixin",
    "SigningKeyAdmin",
]
