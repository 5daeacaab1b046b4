"""Access tokens at the operations of django-ninja; imported by sites that use it."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.security.http import HttpAuthBase
from rest_framework.exceptions import PermissionDenied

from django_ciam_token.resource_server import LiveAccessToken
from django_ciam_token.resource_server.decorator import remember
from django_ciam_token.resource_server.door import Door, Refused, has_scopes, insufficient_scope
from django_ciam_token.resource_server.permissions import scope_names
from django_ciam_token.tokens.bearer import challenge

_CHALLENGE: Final = "ciam_challenge"


class AccessTokenAuth(HttpAuthBase):
    """Authenticates the operations of django-ninja with the access tokens of this site.

    ``request.auth`` is the `LiveAccessToken`, and ``request.user`` the user or a `MachineUser`. The class is
    for sync and async operations. Call `send_challenges` once for an API.

    Args:
        scopes: those that the token must have, all of them.
        realm: for the challenges.
        stateless: whether the database is not asked; None for the setting ``RESOURCE_STATELESS``.
        pass_on_foreign_tokens: whether a token that is not ours is left to the next in ``auth=[…]``; None for
            the setting ``PASS_ON_FOREIGN_TOKENS``.

    Raises:
        ImproperlyConfigured: ``scopes`` is not a list of scope names.
    """

    openapi_scheme = "bearer"
    openapi_bearerFormat = "JWT"  # noqa: N815 - the name is OpenAPI's

    def __init__(
        self,
        *,
        scopes: Collection[str] = (),
        realm: str = "api",
        stateless: bool | None = None,
        pass_on_foreign_tokens: bool | None = None,
    ) -> None:
        super().__init__()
        self._scopes: Final = scope_names(scopes)
        self._door: Final = Door(
            realm=realm, stateless=stateless, pass_on=pass_on_foreign_tokens, refusal=AccessTokenError
        )

    def __call__(self, request: HttpRequest) -> LiveAccessToken | None:
        """Return the token; None if the request has no Bearer credentials, or foreign ones.

        Raises:
            AccessTokenError: the token is not accepted here, or can't be judged now.
        """
        found = self._door.authenticate(request)
        if found is None:
            setattr(request, _CHALLENGE, challenge(realm=self._door.realm))
            return None
        user, token = found
        if not has_scopes(token, self._scopes):
            refused = Refused(
                HTTPStatus.FORBIDDEN,
                "insufficient_scope",
                str(PermissionDenied.default_detail),
                challenge=insufficient_scope(self._door.realm, self._scopes),
            )
            raise AccessTokenError(refused)
        remember(request, user, token)
        return token


class AccessTokenError(HttpError):
    """A request is refused (RFC 6750 §3.1)."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.status, refused.detail)
        self.headers = refused.headers()


def send_challenges(api: NinjaAPI) -> None:
    """Let the refusals of an API carry ``WWW-Authenticate`` (RFC 6750 §3) and ``Retry-After``."""

    def refuse(request: HttpRequest, error: Any) -> HttpResponse:
        response = api.create_response(request, {"detail": str(error)}, status=error.status_code)
        found = getattr(request, _CHALLENGE, None)
        headers = {"WWW-Authenticate": found} if found else {}
        for name, value in getattr(error, "headers", headers).items():
            response[name] = value
        return response

    api.add_exception_handler(AccessTokenError, refuse)
    api.add_exception_handler(AuthenticationError, refuse)
