"""Permitting requests by the scope of their access token."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from django_ciam_token import scopes
from django_ciam_token.errors import InvalidScope
from django_ciam_token.resource_server.door import insufficient_scope
from django_ciam_token.tokens.access_tokens import LiveAccessToken

if TYPE_CHECKING:
    from rest_framework.views import APIView


class TokenHasScopes(BasePermission):
    """Permits a request if its access token has all scopes in the view's ``required_scopes``.

    ``required_scopes`` is a list, or a dict from HTTP method to list. HEAD is treated like GET unless it is
    in the dict; any other method that is missing there is refused. An empty list requires an access token
    but no particular scope. A request that was authenticated in another way is refused.
    """

    required_scopes: ClassVar[Collection[str] | None] = None
    """Set by `has_scopes`; if it is None, the view's are used."""

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
        _explain_refusal(view, insufficient_scope(realm, required))
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
            return None if required is None else scope_names(required)
        if required is None:
            raise ImproperlyConfigured(
                f"{type(view).__name__} uses {type(self).__name__} and needs the attribute required_scopes."
            )
        return scope_names(required)


class TokenHasAnyScope(TokenHasScopes):
    """Permits a request if its access token has at least one of the scopes; an empty list permits nothing."""

    def suffices(self, scope: tuple[str, ...], required: tuple[str, ...]) -> bool:
        """Tell whether a token's scope is enough."""
        return not set(scope).isdisjoint(required)


def has_scopes(*names: str) -> type[TokenHasScopes]:
    """Return a permission class that requires all of these scopes; ``&``, ``|`` and ``~`` combine it."""

    class HasScopes(TokenHasScopes):
        required_scopes = scope_names(names)

    return HasScopes


def has_any_scope(*names: str) -> type[TokenHasAnyScope]:
    """Return a permission class that requires at least one of these scopes."""

    class HasAnyScope(TokenHasAnyScope):
        required_scopes = scope_names(names)

    return HasAnyScope


def scope_names(names: Any) -> tuple[str, ...]:
    """Return scope names as a tuple.

    Raises:
        ImproperlyConfigured: it is no list of names. A string is none: it would be read as a list of letters.
    """
    try:
        if isinstance(names, str) or any(scopes.parse(name) != (name,) for name in names):
            raise ValueError
    except (InvalidScope, ValueError, TypeError, AttributeError):
        raise ImproperlyConfigured(f"required_scopes must be a list of scope names, not {names!r}.") from None
    return tuple(names)


def _explain_refusal(view: APIView, auth_header: str) -> None:
    """Add the challenge to the view's 403, if that is the answer (RFC 6750 §3.1).

    The permission itself must not raise: in ``has_scopes("a") | IsAdminUser`` the other side must still be
    asked. A view object serves one request, so this change ends with the request.
    """
    refuse = view.permission_denied

    def permission_denied(request: Request, message: Any = None, code: str | None = None) -> None:
        try:
            refuse(request, message=message, code=code)
        except PermissionDenied as error:
            error.auth_header = auth_header  # type: ignore[attr-defined]
            raise

    view.permission_denied = permission_denied  # type: ignore[method-assign,assignment]
