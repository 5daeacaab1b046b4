"""What drf-spectacular can't see by itself; loaded only by sites that have it installed."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiViewExtension
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.authentication import BasicAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.schemas.inspectors import DefaultSchema

from django_ciam_token.resource_server import AccessTokenAuthentication
from django_ciam_token.views.base import EndpointView

_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_TAG: Final = "oauth2"


def connect() -> None:
    """Take the endpoints into the site's schema.

    Without drf-spectacular they are in none: other generators would describe them wrongly.
    """
    EndpointView.schema = DefaultSchema()  # type: ignore[assignment]


class AccessTokenScheme(OpenApiAuthenticationExtension):
    """The security scheme of views that take access tokens (RFC 6750)."""

    target_class = "django_ciam_token.resource_server.AccessTokenAuthentication"
    match_subclasses = True
    name = "accessToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the security scheme object."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class _Endpoint(OpenApiViewExtension):
    """Describes one endpoint; subclasses say which and how."""

    match_subclasses = True
    # Endpoints that an older or smaller release does not have are no reason for a warning.
    optional = True

    def view_replacement(self) -> Any:
        """Return a view for the generator's eyes only."""
        replacement = type(self.target.__name__, (self.target,), self.attributes())
        return extend_schema(tags=[_TAG], **self.operation())(replacement)

    def attributes(self) -> dict[str, Any]:
        """Return what the view would say of itself if Django REST framework authenticated its callers."""
        return {}

    def operation(self) -> dict[str, Any]:
        """Return the arguments for `extend_schema`."""
        raise NotImplementedError


class _ClientEndpoint(_Endpoint):
    """An endpoint at which clients authenticate, by Basic or in the form (RFC 6749 §2.3.1)."""

    def attributes(self) -> dict[str, Any]:
        """Name both ways: AllowAny stands for the form."""
        return {"authentication_classes": (BasicAuthentication,), "permission_classes": (AllowAny,)}


class TokenEndpoint(_ClientEndpoint):
    """``POST /oauth2/token``."""

    target_class = "django_ciam_token.views.token.TokenView"

    def operation(self) -> dict[str, Any]:
        """Describe the request and answer of a grant (RFC 6749 §6, §5.1)."""
        return {
            "summary": "Refresh tokens",
            "request": _form(
                "TokenRequest",
                grant_type=serializers.CharField(default="refresh_token"),
                refresh_token=serializers.CharField(required=False),
                scope=serializers.CharField(required=False),
            ),
            "responses": {
                (200, _JSON): inline_serializer(
                    "TokenResponse",
                    {
                        "access_token": serializers.CharField(),
                        "refresh_token": serializers.CharField(required=False),
                        "scope": serializers.CharField(),
                        "id_token": serializers.CharField(required=False),
                        "token_type": serializers.CharField(),
                        "expires_in": serializers.IntegerField(),
                    },
                ),
                **_errors(400, 401, 503),
            },
        }


class RevocationEndpoint(_ClientEndpoint):
    """``POST /oauth2/revoke``."""

    target_class = "django_ciam_token.views.revoke.RevokeView"

    def operation(self) -> dict[str, Any]:
        """Describe a revocation (RFC 7009 §2)."""
        return {
            "summary": "Revoke a token",
            "request": _token_form("RevocationRequest"),
            "responses": {
                (200, _JSON): OpenApiResponse({"type": "object"}, description="Also for an unknown token."),
                **_errors(400, 401, 503),
            },
        }


class IntrospectionEndpoint(_ClientEndpoint):
    """``POST /oauth2/introspect``."""

    target_class = "django_ciam_token.views.introspect.IntrospectView"

    def operation(self) -> dict[str, Any]:
        """Describe an introspection (RFC 7662 §2)."""
        text, number = serializers.CharField, serializers.IntegerField
        return {
            "summary": "Introspect a token",
            "request": _token_form("IntrospectionRequest"),
            "responses": {
                (200, _JSON): inline_serializer(
                    "IntrospectionResponse",
                    {
                        "active": serializers.BooleanField(),
                        "scope": text(required=False),
                        "client_id": text(required=False),
                        "username": text(required=False),
                        "token_type": text(required=False),
                        "exp": number(required=False),
                        "iat": number(required=False),
                        "nbf": number(required=False),
                        "sub": text(required=False),
                        "aud": text(required=False),
                        "iss": text(required=False),
                        "jti": text(required=False),
                        "sid": text(required=False),
                    },
                ),
                **_errors(400, 401, 503),
            },
        }


class UserInfoEndpoint(_Endpoint):
    """``/userinfo``."""

    target_class = "django_ciam_token.views.userinfo.UserInfoView"

    def attributes(self) -> dict[str, Any]:
        """Name the authentication that the view does itself."""
        return {"authentication_classes": (AccessTokenAuthentication,)}

    def operation(self) -> dict[str, Any]:
        """Describe the claims (OpenID Connect Core §5.3.2); the site may add some."""
        return {
            "summary": "Claims about the user",
            "request": None,
            "responses": {
                (200, _JSON): {
                    "type": "object",
                    "properties": {
                        "sub": {"type": "string"},
                        "name": {"type": "string"},
                        "given_name": {"type": "string"},
                        "family_name": {"type": "string"},
                        "preferred_username": {"type": "string"},
                        "email": {"type": "string", "format": "email"},
                    },
                    "required": ["sub"],
                    "additionalProperties": True,
                },
                **_errors(400, 401, 403, 503),
            },
        }


class JWKSetEndpoint(_Endpoint):
    """``GET /oauth2/jwks``."""

    target_class = "django_ciam_token.views.metadata.JWKSetView"

    def operation(self) -> dict[str, Any]:
        """Describe the JWK Set (RFC 7517 §5)."""
        jwk = {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("kty", "kid", "use", "alg")},
            "required": ["kty", "kid", "use", "alg"],
            "additionalProperties": {"type": "string"},
        }
        keys = {
            "type": "object",
            "properties": {"keys": {"type": "array", "items": jwk}},
            "required": ["keys"],
        }
        return {"summary": "Public keys", "responses": {(200, _JSON): keys, **_errors(503)}}


class MetadataEndpoint(_Endpoint):
    """``GET /.well-known/…``."""

    target_class = "django_ciam_token.views.metadata.MetadataView"

    def operation(self) -> dict[str, Any]:
        """Describe the metadata (RFC 8414 §2)."""
        document = {
            "type": "object",
            "properties": {
                "issuer": {"type": "string", "format": "uri"},
                "token_endpoint": {"type": "string", "format": "uri"},
                "jwks_uri": {"type": "string", "format": "uri"},
            },
            "required": ["issuer", "token_endpoint", "jwks_uri"],
            "additionalProperties": True,
        }
        return {"summary": "Metadata of the service", "responses": {(200, _JSON): document, **_errors(503)}}


def _form(name: str, **fields: Any) -> dict[str, Any]:
    """Return a form with the parameters that authenticate a client beside its own."""
    credentials = {
        "client_id": serializers.CharField(required=False),
        "client_secret": serializers.CharField(required=False),
    }
    return {_FORM: inline_serializer(name, fields | credentials)}


def _token_form(name: str) -> dict[str, Any]:
    hint = serializers.CharField(required=False)
    return _form(name, token=serializers.CharField(), token_type_hint=hint)


def _errors(*codes: int) -> dict[Any, Any]:
    error = inline_serializer(
        "OAuthError",
        {"error": serializers.CharField(), "error_description": serializers.CharField(required=False)},
    )
    return {(code, _JSON): error for code in codes}
