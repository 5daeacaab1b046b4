"""What a request to sign out asks for, and doing it (OpenID Connect RP-Initiated Logout 1.0)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils.translation import gettext as _

from django_ciam_token.authorization.errors import PageError
from django_ciam_token.authorization.id_token_hint import IdTokenHint, read_hint
from django_ciam_token.authorization.login import Login
from django_ciam_token.authorization.parameters import Sent, unreadable
from django_ciam_token.authorization.request import find_client
from django_ciam_token.authorization.response import with_parameters
from django_ciam_token.caller import Caller
from django_ciam_token.models import Client, RevocationReason
from django_ciam_token.sessions.revocation import revoke_session
from django_ciam_token.sessions.rows import find_session

# The reference interface has a name of its own for the address.
_ADDRESSES: Final = ("post_logout_redirect_uri", "logout_redirect_uri")
PARAMETERS: Final = frozenset(
    ("id_token_hint", "client_id", *_ADDRESSES, "state", "logout_hint", "ui_locales")
)


@dataclass(frozen=True, kw_only=True)
class LogoutRequest:
    """A request to sign out that is well-formed."""

    hint: IdTokenHint | None
    client: Client | None
    """The application that asks; None if it did not say, or is not active."""
    location: str | None = field(repr=False)
    """Where to send the browser afterwards: registered for the client, with ``state``."""

    def is_of(self, user: AbstractBaseUser, login: Login) -> bool:
        """Tell whether it was made with an id_token of this very login, so that no question is needed."""
        hint = self.hint
        return hint is not None and hint.is_about(user) and hint.auth_time in login.moments


def read_logout_request(sent: Sent, *, now: datetime) -> LogoutRequest:
    """Return what a request to sign out asks for; at most two queries.

    Raises:
        PageError: it contradicts itself, or names an address that is not registered.
        TemporarilyUnavailable: the database refused.
    """
    if sent.repeated:
        raise unreadable("repeated_parameter")
    parameters = sent.values
    # A hint that this service did not sign counts for nothing.
    hint = read_hint(parameters.get("id_token_hint"), now=now)
    client_id = parameters.get("client_id")
    if hint is not None and client_id not in (None, hint.client_id):
        raise unreadable("hint_of_another_client")
    named = client_id if hint is None else hint.client_id
    client = find_client(named)
    address = _address(sent)
    if address is None or named is None:
        # Nobody is sent to an address that may be anyone's.
        return LogoutRequest(hint=hint, client=client, location=None)
    if client is None or not client.has_post_logout_redirect_uri(address):
        message = _("The address to return to is not registered for this application.")
        raise PageError(message, reason="wrong_post_logout_redirect_uri")
    state = parameters.get("state")
    location = with_parameters(address, {} if state is None else {"state": state})
    return LogoutRequest(hint=hint, client=client, location=location)


def _address(sent: Sent) -> str | None:
    addresses = {sent.values[name] for name in _ADDRESSES if name in sent.values}
    if len(addresses) > 1:
        raise unreadable("two_addresses")
    return next(iter(addresses), None)


def end_session_of_hint(
    hint: IdTokenHint | None, *, user: AbstractBaseUser, caller: Caller, now: datetime
) -> None:
    """End the session of an id_token if it is this user's, unless it was allowed to go on without them.

    Raises:
        TemporarilyUnavailable: the database refused; the session may still be live.
    """
    if hint is None or hint.session_id is None:
        return
    reading = find_session(hint.session_id)
    if reading is None or reading.session.user_id != user.pk:
        return
    session = reading.session
    # OpenID Connect Core §11: offline_access is for when the user is not present.
    if "offline_access" not in session.scopes:
        revoke_session(session, reason=RevocationReason.USER, now=now, caller=caller)
