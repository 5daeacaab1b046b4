"""What the service publishes about itself: the JWK Set and the discovery documents."""

from __future__ import annotations

import hashlib
import json
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from django_ciam_token.authorization.request import PROMPTS, RESPONSE_MODES
from django_ciam_token.clients.methods import METHODS
from django_ciam_token.conf import ciam_settings
from django_ciam_token.keys import key_set
from django_ciam_token.views.base import EndpointView
from django_ciam_token.views.userinfo import STANDARD_CLAIMS

_METHODS: Final = [method.name for method in METHODS]
_CONFIDENTIAL_METHODS: Final = [method.name for method in METHODS if method.is_confidential]

# A site may leave any of them out of its URLs.
_ENDPOINTS: Final = {
    "token_endpoint": "django_ciam_token:token",
    "jwks_uri": "django_ciam_token:jwks",
    "revocation_endpoint": "django_ciam_token:revoke",
    "userinfo_endpoint": "django_ciam_token:userinfo",
    "introspection_endpoint": "django_ciam_token:introspect",
}
_AUTH_METHODS: Final = {
    "token_endpoint": _METHODS,
    "revocation_endpoint": _METHODS,
    "introspection_endpoint": _CONFIDENTIAL_METHODS,
}

# Of every id_token of a code.
_CLAIMS: Final = ("sub", "iss", "aud", "azp", "exp", "iat", "jti", "auth_time", "nonce", "sid")


class PublishedView(EndpointView):
    """A public document that may be cached and revalidated with If-None-Match."""

    http_method_names = ["get", "head"]

    def document(self) -> dict[str, Any]:
        """Return the members of the document."""
        raise NotImplementedError

    def get(self, request: Request) -> Response:
        """Answer with the document, or with 304 if the client already has it."""
        document = self.document()
        etag = f'"{hashlib.sha256(json.dumps(document).encode()).hexdigest()[:32]}"'
        max_age = int(ciam_settings.JWKS_MAX_AGE.total_seconds())
        # Public keys and addresses: scripts of any origin may read them.
        headers = {
            "ETag": etag,
            "Cache-Control": f"public, max-age={max_age}",
            "Access-Control-Allow-Origin": "*",
        }
        # RFC 9110 §13.1.2: If-None-Match compares weakly, so an ETag that a proxy weakened still matches.
        known = {known.removeprefix("W/") for known in parse_etags(request.headers.get("If-None-Match", ""))}
        if known & {etag, "*"}:
            return Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(document, headers=headers)


class JWKSetView(PublishedView):
    """``GET /oauth2/jwks``: the public keys (RFC 7517 §5)."""

    def document(self) -> dict[str, Any]:
        """Return the JWK Set."""
        return key_set.current().jwk_set(timezone.now())


class MetadataView(PublishedView):
    """``GET /.well-known/…``: what is served and where (RFC 8414, OpenID Connect Discovery)."""

    def document(self) -> dict[str, Any]:
        """Return the metadata; it names only what is served."""
        return {
            "issuer": ciam_settings.ISSUER,
            **{member: _url(name) for member, name in _ENDPOINTS.items() if _is_served(name)},
            "scopes_supported": list(ciam_settings.SCOPES),
            **_authorization(),
            "grant_types_supported": _grant_types(),
            **{
                f"{member}_auth_methods_supported": methods
                for member, methods in _AUTH_METHODS.items()
                if _is_served(_ENDPOINTS[member])
            },
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": key_set.current().algorithms(timezone.now()),
        }


def _authorization() -> dict[str, Any]:
    """Return the members about signing in; next to nothing if the site has no authorization endpoint."""
    if not _signs_people_in():
        # Both specifications require this member.
        return {"response_types_supported": []}
    members: dict[str, Any] = {"authorization_endpoint": _url("django_ciam_token:authorize")}
    if _is_served("django_ciam_token:logout"):
        members["end_session_endpoint"] = _url("django_ciam_token:logout")
    return members | {
        "response_types_supported": ["code"],
        "response_modes_supported": list(RESPONSE_MODES),
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": list(PROMPTS),
        "authorization_response_iss_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "claims_supported": [*_CLAIMS, *_claims_of_scopes()],
    }


def _claims_of_scopes() -> list[str]:
    """Return the claims that `/userinfo` has without any function of the site (OpenID Connect Core §5.4)."""
    if not _is_served(_ENDPOINTS["userinfo_endpoint"]):
        return []
    return [
        claim
        for scope, claims in STANDARD_CLAIMS.items()
        if scope in ciam_settings.SCOPES
        for claim in claims
    ]


def _signs_people_in() -> bool:
    return "authorization_code" in ciam_settings.GRANTS and _is_served("django_ciam_token:authorize")


def _grant_types() -> list[str]:
    """Return the grants that are served; without an authorization endpoint there are no codes to exchange."""
    if not _is_served(_ENDPOINTS["token_endpoint"]):
        return []
    has_codes = _signs_people_in()
    return [name for name in ciam_settings.GRANTS if has_codes or name != "authorization_code"]


def _is_served(name: str) -> bool:
    """Tell whether the site has this view among its URLs."""
    try:
        reverse(name)
    except NoReverseMatch:
        return False
    return True


def _url(name: str) -> str:
    """Return the URL of a view: on the issuer's host, never on the host of the Host header."""
    issuer = urlsplit(ciam_settings.ISSUER)
    return f"{issuer.scheme}://{issuer.netloc}{reverse(name)}"
