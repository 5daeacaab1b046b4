"""The resource server: how the site's own Django REST framework views trust access tokens.

``rest_framework.views`` must not be imported here: while that module is being imported it imports the
classes that the host's ``DEFAULT_AUTHENTICATION_CLASSES`` and ``DEFAULT_PERMISSION_CLASSES`` name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, ParseError, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from django_ciam_token import access_tokens, scopes
from django_ciam_token.access_tokens import LiveAccessToken
from django_ciam_token.callers import shown_path
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidRequest, InvalidScope, InvalidToken, TemporarilyUnavailable
from django_ciam_token.models import Client

if TYPE_CHECKING:
    from rest_framework.views import APIView

logger = logging.getLogger("django_ciam_token")

_B64TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1.
# All that a caller is told of why its token is refused.
_EXPIRED: Final = "the access token has expired"
_NOT_VALID: Final = "the access token is not valid"


@dataclass(frozen=True)
class MachineUser:
    """The ``request.user`` of a machine-to-machine client, which acts for itself; no row stands behind it."""

    client: Client

    is_active: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_authenticated: ClassVar[bool] = True
    is_staff: ClassVar[bool] = False
    is_superuser: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.username

    @property
    def pk(self) -> str:
        """What is no user's key; None would match the rows that have no owner."""
        return f"client:{self.client.client_id}"

    id = pk

    @property
    def username(self) -> str:
        """The client_id, as in the token's ``sub``."""
        return self.client.client_id

    def get_username(self) -> str:
        """Return the client_id."""
        return self.username

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Return False: Django's permissions are given to users, scopes to clients."""
        return False

    def has_perms(self, perm_list: Collection[str], obj: object = None) -> bool:
        """Return False."""
        return False

    def has_module_perms(self, package_name: str) -> bool:
        """Return False."""
        return False


class AccessTokenRefused(AuthenticationFailed):
    """The access token is not one to act upon (RFC 6750 §3.1)."""

    error = "invalid_token"
    default_code = error


class MalformedAuthorization(ParseError):
    """The Authorization header does not hold one access token (RFC 6750 §3.1)."""

    error = "invalid_request"
    default_code = error

    def __init__(self, detail: str, *, auth_header: str) -> None:
        super().__init__(detail)
        self.auth_header = auth_header
        """What Django REST framework answers as WWW-Authenticate."""


class AccessTokensUnavailable(APIException):
    """The database can't be asked about the token now.

    Never 401: on that a client throws its tokens away.
    """

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_detail = "try again with the same access token"
    default_code = TemporarilyUnavailable.error
    wait = 1
    """Seconds, which Django REST framework answers as Retry-After."""


class AccessTokenAuthentication(BaseAuthentication):
    """Authenticates ``Authorization: Bearer`` with the access tokens of this site.

    ``request.user`` is the user, or a `MachineUser`; ``request.auth`` the `LiveAccessToken`. Name it
    first in ``authentication_classes``: Django REST framework takes the challenge of a 401 from the first
    class, and makes a 403 of it if that class has none.
    """

    www_authenticate_realm = "api"

    @method_decorator(sensitive_variables())
    def authenticate(self, request: Request) -> tuple[AbstractBaseUser | MachineUser, LiveAccessToken] | None:
        """Return the user and the token; None if the request has no Bearer credentials.

        Raises:
            AccessTokenRefused: the token is not good, or not good here.
            MalformedAuthorization: there is no token after ``Bearer``, or more than one.
            AccessTokensUnavailable: the database refused.
        """
        try:
            token = bearer_token(request.headers.get("Authorization"))
            if token is None:
                return None
            live = accept(token, now=timezone.now())
        except InvalidRequest as error:
            header = self.challenge(error=error.error, error_description=error.description)
            raise MalformedAuthorization(error.description, auth_header=header) from None
        except InvalidToken as error:
            _log_refusal(request, error)
            description = _EXPIRED if error.reason == "expired" else _NOT_VALID
            # Django REST framework asks another instance of this class for the challenge.
            request.ciam_challenge = self.challenge(  # type: ignore[attr-defined]
                error=error.error, error_description=description
            )
            raise AccessTokenRefused(description) from None
        except TemporarilyUnavailable:
            raise AccessTokensUnavailable from None
        except Error as error:
            # Whatever it is, it says nothing about the token, and the caller of an API must get its answer
            # in the form of the API.
            logger.error(
                "The database failed while an access token was judged",
                exc_info=error,
                extra={"event": "database_unavailable"},
            )
            raise AccessTokensUnavailable from None
        return MachineUser(client=live.client) if live.user is None else live.user, live

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401; it names an error only if a token was sent (RFC 6750 §3.1)."""
        return getattr(request, "ciam_challenge", None) or self.challenge()

    def challenge(self, **parameters: str) -> str:
        """Return a challenge with this class's realm."""
        return challenge(realm=self.www_authenticate_realm, **parameters)


def bearer_token(authorization: str | None) -> str | None:
    """Return the token of an Authorization header (RFC 6750 §2.1); None if it is of another scheme.

    Raises:
        InvalidRequest: there is no token after ``Bearer``, or more than one.
        InvalidToken: it has a character that no token has.
    """
    scheme, *tokens = (authorization or "").split() or [""]
    if scheme.lower() != "bearer":
        return None
    if len(tokens) != 1:
        raise InvalidRequest("send one access token: Authorization: Bearer TOKEN", reason="not_one_token")
    if not _B64TOKEN.fullmatch(tokens[0]):
        raise InvalidToken(reason="malformed_token")
    return tokens[0]


@sensitive_variables()
def accept(token: str, *, now: datetime) -> LiveAccessToken:
    """Return what an access token says if the site's own views may act upon it.

    Raises:
        InvalidToken: they may not; the reason says why.
        TemporarilyUnavailable: the database refused.
    """
    verified = access_tokens.verify(token, now=now)
    access_tokens.require_unexpired(verified, now=now, leeway=ciam_settings.RESOURCE_LEEWAY)
    audience, audiences = verified.claims["aud"], ciam_settings.RESOURCE_AUDIENCES
    if audiences is not None and audience not in audiences:
        raise InvalidToken(reason="wrong_audience")
    live = access_tokens.require_live(verified, revocation=ciam_settings.RESOURCE_CHECKS_REVOCATION)
    # An audience that the operator gave the client is meant for some API: perhaps not for this one.
    if audiences is None and audience != live.client.client_id:
        raise InvalidToken(reason="wrong_audience")
    return live


class TokenHasScopes(BasePermission):
    """Permits requests whose access token has all scopes that the view's ``required_scopes`` names.

    ``required_scopes`` is a list, or a dict from HTTP method to list. HEAD is judged like GET unless it is
    in the dict; any other method that is missing there is refused. A list that is empty asks for an access
    token and no particular scope. What was authenticated in another way is refused.
    """

    required_scopes: ClassVar[Collection[str] | None] = None
    """Set by `has_scopes`; None for those of the view."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the token has the scopes; if not, the refusal will say which are needed.

        Raises:
            ImproperlyConfigured: the view does not say what it requires.
        """
        required = self._required(str(request.method), view)
        token = request.auth
        if not isinstance(token, LiveAccessToken):
            return False
        if required is None:
            return False
        if self.suffices(token.verified.scope, required):
            return True
        realm = getattr(request.successful_authenticator, "www_authenticate_realm", "api")
        _explain_refusal(view, challenge(realm=realm, error="insufficient_scope", scope=" ".join(required)))
        return False

    def suffices(self, scope: tuple[str, ...], required: tuple[str, ...]) -> bool:
        """Tell whether a token's scope is enough."""
        return scopes.is_within(required, scope)

    def _required(self, method: str, view: APIView) -> tuple[str, ...] | None:
        required = self.required_scopes
        if required is None:
            required = getattr(view, "required_scopes", None)
        if isinstance(required, Mapping):
            required = required.get(method, required.get("GET") if method == "HEAD" else None)
            return None if required is None else _names(required)
        if required is None:
            raise ImproperlyConfigured(
                f"{type(view).__name__} uses {type(self).__name__} and needs the attribute required_scopes."
            )
        return _names(required)


class TokenHasAnyScope(TokenHasScopes):
    """Permits requests whose access token has at least one of the scopes; of an empty list it has none."""

    def suffices(self, scope: tuple[str, ...], required: tuple[str, ...]) -> bool:
        """Tell whether a token's scope is enough."""
        return not set(scope).isdisjoint(required)


def has_scopes(*names: str) -> type[TokenHasScopes]:
    """Return a permission class for all of these scopes; combine it with others by ``&``, ``|`` and ``~``."""

    class HasScopes(TokenHasScopes):
        required_scopes = _names(names)

    return HasScopes


def has_any_scope(*names: str) -> type[TokenHasAnyScope]:
    """Return a permission class for at least one of these scopes."""

    class HasAnyScope(TokenHasAnyScope):
        required_scopes = _names(names)

    return HasAnyScope


def challenge(**parameters: str) -> str:
    """Return a challenge for WWW-Authenticate (RFC 6750 §3)."""
    quoted = (
        f'{name}="{value}"'
        for name, value in (
            (name, value.replace("\\", r"\\").replace('"', r"\"")) for name, value in parameters.items()
        )
        if value
    )
    return f"Bearer {', '.join(quoted)}"


def _names(names: Any) -> tuple[str, ...]:
    """Return scope names as a tuple; a string would be taken for a list of letters."""
    try:
        if isinstance(names, str) or any(scopes.parse(name) != (name,) for name in names):
            raise ValueError
    except (InvalidScope, ValueError, TypeError, AttributeError):
        raise ImproperlyConfigured(f"required_scopes must be a list of scope names, not {names!r}.") from None
    return tuple(names)


def _explain_refusal(view: APIView, auth_header: str) -> None:
    """Let the view's 403, if there is one, carry the challenge (RFC 6750 §3.1).

    The permission itself must not raise: in ``has_scopes("a") | IsAdminUser`` the other side is still to
    be asked. A view serves one request, so nothing of this outlives it.
    """
    refuse = view.permission_denied

    def permission_denied(request: Request, message: Any = None, code: str | None = None) -> None:
        try:
            refuse(request, message=message, code=code)
        except PermissionDenied as error:
            error.auth_header = auth_header  # type: ignore[attr-defined]
            raise

    view.permission_denied = permission_denied  # type: ignore[method-assign,assignment]


def _log_refusal(request: Request, error: InvalidToken) -> None:
    logger.info(
        "%s refused: %s",
        shown_path(request),
        error.reason,
        extra={"event": "request_refused", "error": error.error, "reason": error.reason},
    )
