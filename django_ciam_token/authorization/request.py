"""What an authorization request asks for (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1).

Nothing here depends on who is signed in. Everything is read in two steps: where the answer belongs, then the
rest. Until the first has succeeded nobody is sent anywhere, or the service would be an open redirector
(RFC 9700 §4.11.2).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Final

from django.utils.translation import gettext as _

from django_ciam_token import scopes
from django_ciam_token.authorization.errors import (
    PageError,
    RegistrationNotSupported,
    RequestNotSupported,
    RequestURINotSupported,
    UnsupportedResponseType,
)
from django_ciam_token.authorization.parameters import Sent
from django_ciam_token.concealed import Form
from django_ciam_token.crypto.authorization_code_string import LONGEST_NONCE
from django_ciam_token.database.retry import read_rows
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidRequest, InvalidScope, OAuthError, UnauthorizedClient
from django_ciam_token.models import ApplicationType, Client

HINTS: Final = ("login_hint", "ui_locales", "display", "acr_values", "id_token_hint")
PARAMETERS: Final = frozenset(
    (
        *("response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "prompt", "max_age"),
        *("code_challenge", "code_challenge_method", "response_mode"),
        *("request", "request_uri", "registration"),
        *HINTS,
    )
)
RESPONSE_MODES: Final = ("query", "form_post")
PROMPTS: Final = ("none", "login", "consent", "select_account")
_NOT_SUPPORTED: Final[dict[str, type[OAuthError]]] = {
    "request": RequestNotSupported,
    "request_uri": RequestURINotSupported,
    "registration": RegistrationNotSupported,
}
# The SHA-256 of a verifier, in base64url (RFC 7636 §4.2).
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where the answer belongs: an address that the operator has registered for the client."""

    client: Client
    redirect_uri: str
    response_mode: str
    state: str | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AuthorizationRequest:
    """A request that is well-formed and asks for nothing that its client is not allowed."""

    destination: Destination
    scope: tuple[str, ...]
    nonce: str | None = field(repr=False)
    code_challenge: str | None = field(repr=False)
    """Of method S256; None if the client does without PKCE."""
    prompt: frozenset[str]
    max_age: int | None
    """How many seconds ago the user may have signed in; None if it does not matter."""
    parameters: Form = field(repr=False)
    """All that was sent, to go on with after the user has signed in."""

    @property
    def client(self) -> Client:
        """The client that asks."""
        return self.destination.client

    @property
    def is_silent(self) -> bool:
        """Whether no page may be shown (``prompt=none``)."""
        return "none" in self.prompt

    def fingerprint(self) -> bytes:
        """Return a digest of all that was sent: what an answer on a page is bound to."""
        return fingerprint(self.parameters)


def fingerprint(parameters: Form) -> bytes:
    """Return a digest of the parameters, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(dict(parameters).items())).encode()).digest()


def find_destination(sent: Sent) -> Destination:
    """Return where the answer to a request belongs; one query.

    Raises:
        PageError: the client or the redirect URI is missing, repeated, unknown or not registered.
        TemporarilyUnavailable: the database refused.
    """
    client = find_client(sent.once("client_id"))
    if client is None:
        raise PageError(_("The application is not known here."), reason="unknown_client")
    redirect_uri = sent.once("redirect_uri")
    if redirect_uri is None or not client.has_redirect_uri(redirect_uri):
        message = _("The address to return to is not registered for this application.")
        raise PageError(message, reason="wrong_redirect_uri")
    return Destination(
        client=client,
        redirect_uri=redirect_uri,
        response_mode="form_post" if sent.once("response_mode") == "form_post" else "query",
        state=sent.once("state"),
    )


def find_client(client_id: str | None) -> Client | None:
    """Return the active client of this client_id; None if there is none.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    if client_id is None:
        return None
    rows = Client.objects.using(write_database(Client)).filter(client_id=client_id, is_active=True)
    # Compared once more: some databases ignore case or spaces at the end.
    return next((client for client in read_rows(rows[:1]) if client.client_id == client_id), None)


def read_request(sent: Sent, destination: Destination) -> AuthorizationRequest:
    """Return what a request asks for.

    Raises:
        OAuthError: it is malformed, or asks for what is not served or not allowed; the answer belongs to the
            destination.
    """
    if sent.repeated:
        raise InvalidRequest(f"{min(sent.repeated)} is repeated; send it once", reason="repeated_parameter")
    parameters = Form({name: sent.values[name] for name in sent.values if name in PARAMETERS})
    _require_served(parameters)
    if destination.client.application_type == ApplicationType.M2M:
        raise UnauthorizedClient("this application signs nobody in", reason="machine")
    return AuthorizationRequest(
        destination=destination,
        scope=_read_scope(parameters, destination.client),
        nonce=_read_nonce(parameters),
        code_challenge=_read_code_challenge(parameters, destination.client),
        prompt=_read_prompt(parameters),
        max_age=_read_max_age(parameters),
        parameters=parameters,
    )


def _require_served(parameters: Form) -> None:
    for name, error in _NOT_SUPPORTED.items():
        if name in parameters:
            raise error(f"{name} is not supported; leave it out")
    response_type = parameters.get("response_type")
    if response_type is None:
        raise InvalidRequest("response_type is missing; send code", reason="missing_response_type")
    if response_type != "code":
        raise UnsupportedResponseType("response_type must be code")
    if parameters.get("response_mode", "query") not in RESPONSE_MODES:
        raise InvalidRequest("response_mode must be query or form_post", reason="wrong_response_mode")


def _read_scope(parameters: Form, client: Client) -> tuple[str, ...]:
    # RFC 6749 §3.3: without a scope, a default.
    scope = scopes.parse(parameters.get("scope", "openid"))
    if not scopes.is_within(scope, client.scopes):
        raise InvalidScope("scope asks for more than this application is allowed", reason="scope_not_allowed")
    return scope


def _read_nonce(parameters: Form) -> str | None:
    nonce = parameters.get("nonce")
    if nonce is not None and len(nonce.encode("utf-8", "surrogatepass")) > LONGEST_NONCE:
        raise InvalidRequest(f"nonce is longer than {LONGEST_NONCE} bytes", reason="long_nonce")
    return nonce


def _read_code_challenge(parameters: Form, client: Client) -> str | None:
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method")
    if challenge is None and method is None:
        # RFC 9700 §2.1.1: a request that leaves it out must not succeed.
        if client.must_use_pkce:
            raise InvalidRequest("this application must send a code_challenge", reason="pkce_required")
        return None
    # RFC 7636 §4.3 takes no method for plain, which protects nothing here.
    if method != "S256":
        raise InvalidRequest("code_challenge_method must be S256", reason="wrong_challenge_method")
    if challenge is None or not _CHALLENGE.fullmatch(challenge):
        message = "code_challenge must be 43 base64url characters: the SHA-256 of the code_verifier"
        raise InvalidRequest(message, reason="wrong_challenge")
    return challenge


def _read_prompt(parameters: Form) -> frozenset[str]:
    prompt = frozenset(parameters.get("prompt", "").split(" ")) - {""}
    if not scopes.is_within(prompt, PROMPTS):
        raise InvalidRequest(f"prompt must be of: {', '.join(PROMPTS)}", reason="wrong_prompt")
    if "none" in prompt and len(prompt) > 1:
        raise InvalidRequest("prompt=none stands alone", reason="wrong_prompt")
    return prompt


def _read_max_age(parameters: Form) -> int | None:
    max_age = parameters.get("max_age")
    if max_age is None:
        return None
    if not _SECONDS.fullmatch(max_age):
        raise InvalidRequest("max_age must be a number of seconds", reason="wrong_max_age")
    return int(max_age)
