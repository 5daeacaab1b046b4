"""What drf-spectacular can't see by itself; loaded only by sites that have it installed."""

# drf-spectacular has annotations, but not for the code that runs when its extensions are subclassed.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any, ClassVar, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiViewExtension
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework.authentication import BasicAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.schemas.inspectors import DefaultSchema
from rest_framework.serializers import BooleanField, CharField, IntegerField
from rest_framework.views import APIView

from django_ciam_token.resource_server import AccessTokenAuthentication

_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_OAUTH_ERROR: Final = inline_serializer(
    "OAuthError", {"error": CharField(), "error_description": CharField(required=False)}
)


def describe(view: type[APIView]) -> None:
    """Add a view of ours, and its subclasses, to the site's schema.

    Without drf-spectacular the endpoints are in no schema: other generators would describe them wrongly.
    """
    view.schema = DefaultSchema()


def _errors(*codes: int) -> dict[Any, Any]:
    return {(code, _JSON): _OAUTH_ERROR for code in codes}


def _form(name: str, **fields: Any) -> dict[str, Any]:
    """Return a form with these parameters and those that authenticate a client."""
    credentials = {"client_id": CharField(required=False), "client_secret": CharField(required=False)}
    return {_FORM: inline_serializer(name, fields | credentials)}


def _object(*required: str, others: Any = True, **properties: Any) -> dict[str, Any]:
    """Return the schema of an object, which may have other properties as well."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": others,
    }


class AccessTokenScheme(OpenApiAuthenticationExtension):
    """The security scheme of views that take access tokens (RFC 6750)."""

    target_class = "django_ciam_token.resource_server.AccessTokenAuthentication"
    match_subclasses = True
    name = "accessToken"

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        # drf-spectacular takes it for a mistake if two classes have one name.
        if type(target) is not AccessTokenAuthentication:
            self.name = type(target).__name__

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the security scheme object."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class EndpointExtension(OpenApiViewExtension):
    """Describes one endpoint, and a site's subclasses of it."""

    match_subclasses = True

    attributes: ClassVar[dict[str, Any]] = {}
    """The attributes that the view would have if Django REST framework authenticated its callers."""
    operation: ClassVar[dict[str, Any]]
    """The arguments for `extend_schema`."""

    def view_replacement(self) -> Any:
        """Return a view that only the schema generator sees."""
        replacement = type(self.target.__name__, (self.target,), self.attributes)
        return extend_schema(tags=["oauth2"], **self.operation)(replacement)


# Clients authenticate by Basic or in the form (RFC 6749 §2.3.1); AllowAny stands for the form.
_BY_CLIENTS: Final = {"authentication_classes": (BasicAuthentication,), "permission_classes": (AllowAny,)}


class TokenEndpoint(EndpointExtension):
    """``POST /oauth2/token`` (RFC 6749 §6, §5.1)."""

    target_class = "django_ciam_token.views.token.TokenView"
    attributes = _BY_CLIENTS
    operation = {
        "summary": "Refresh tokens",
        "request": _form(
            "TokenRequest",
            grant_type=CharField(),
            refresh_token=CharField(required=False),
            scope=CharField(required=False),
        ),
        "responses": {
            (200, _JSON): inline_serializer(
                "TokenResponse",
                {
                    "access_token": CharField(),
                    "refresh_token": CharField(required=False),
                    "scope": CharField(),
                    "id_token": CharField(required=False),
                    "token_type": CharField(),
                    "expires_in": IntegerField(),
                },
            ),
            **_errors(400, 401, 429, 503),
        },
    }


class RevocationEndpoint(EndpointExtension):
    """``POST /oauth2/revoke`` (RFC 7009 §2)."""

    target_class = "django_ciam_token.views.revocation.RevocationView"
    attributes = _BY_CLIENTS
    operation = {
        "summary": "Revoke a token",
        "request": _form("RevocationRequest", token=CharField(), token_type_hint=CharField(required=False)),
        "responses": {
            (200, _JSON): OpenApiResponse({"type": "object"}, description="Also for an unknown token."),
            **_errors(400, 401, 429, 503),
        },
    }


class IntrospectionEndpoint(EndpointExtension):
    """``POST /oauth2/introspect`` (RFC 7662 §2)."""

    target_class = "django_ciam_token.views.introspection.IntrospectionView"
    attributes = _BY_CLIENTS
    operation = {
        "summary": "Introspect a token",
        "request": _form(
            "IntrospectionRequest", token=CharField(), token_type_hint=CharField(required=False)
        ),
        "responses": {
            (200, _JSON): inline_serializer(
                "IntrospectionResponse",
                {
                    "active": BooleanField(),
                    **{
                        name: CharField(required=False)
                        for name in (
                            *("scope", "client_id", "username", "token_type"),
                            *("sub", "aud", "iss", "jti", "sid"),
                        )
                    },
                    **{name: IntegerField(required=False) for name in ("exp", "iat", "nbf")},
                },
            ),
            **_errors(400, 401, 429, 503),
        },
    }


class UserInfoEndpoint(EndpointExtension):
    """``/userinfo`` (OpenID Connect Core §5.3.2)."""

    target_class = "django_ciam_token.views.userinfo.UserInfoView"
    attributes = {"authentication_classes": (AccessTokenAuthentication,)}
    operation = {
        "summary": "Claims about the user",
        "request": None,
        "responses": {
            (200, _JSON): _object(
                "sub",
                sub={"type": "string"},
                name={"type": "string"},
                given_name={"type": "string"},
                family_name={"type": "string"},
                preferred_username={"type": "string"},
                email={"type": "string"},
            ),
            **_errors(400, 401, 403, 503),
        },
    }


class JWKSetEndpoint(EndpointExtension):
    """``GET /oauth2/jwks`` (RFC 7517 §5)."""

    target_class = "django_ciam_token.views.metadata.JWKSetView"
    operation = {
        "summary": "Public keys",
        "responses": {
            (200, _JSON): _object(
                "keys",
                keys={
                    "type": "array",
                    "items": _object(
                        *("kty", "kid", "use", "alg"),
                        others={"type": "string"},
                        **{name: {"type": "string"} for name in ("kty", "kid", "use", "alg")},
                    ),
                },
            ),
            **_errors(503),
        },
    }


class MetadataEndpoint(EndpointExtension):
    """``GET /.well-known/…`` (RFC 8414 §2, OpenID Connect Discovery)."""

    target_class = "django_ciam_token.views.metadata.MetadataView"
    operation = {
        "summary": "Metadata of the service",
        "responses": {
            (200, _JSON): _object(
                *("issuer", "token_endpoint", "jwks_uri"),
                issuer={"type": "string", "format": "uri"},
                token_endpoint={"type": "string", "format": "uri"},
                jwks_uri={"type": "string", "format": "uri"},
            ),
            **_errors(503),
        },
    }
