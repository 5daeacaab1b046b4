"""``GET /userinfo``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InsufficientScope, InvalidRequest
from django_ciam_token.sessions.user import user_name
from django_ciam_token.tokens import access_tokens
from django_ciam_token.tokens.access_tokens import LiveAccessToken
from django_ciam_token.tokens.bearer import bearer_token, challenge
from django_ciam_token.views.base import EndpointView
from django_ciam_token.views.rendering import NO_STORE

# OpenID Connect Core §5.3.3. The key has the status too, because a 405 or 415 is also an invalid_request.
_CHALLENGES: Final = {
    ("invalid_request", 400): challenge(error="invalid_request"),
    ("invalid_token", 401): challenge(error="invalid_token"),
    ("insufficient_scope", 403): challenge(error="insufficient_scope", scope="openid"),
}

STANDARD_CLAIMS: Final = {
    "profile": ("name", "given_name", "family_name", "preferred_username"),
    "email": ("email",),
}
"""Scope to the claims that a user model like Django's can answer (OpenID Connect Core §5.4)."""


class UserInfoView(EndpointView):
    """The UserInfo endpoint (OpenID Connect Core §5.3)."""

    http_method_names = ["get", "post"]

    def get(self, request: Request) -> Response:
        """Answer with the claims about the token's user."""
        token = bearer_token(request.headers.get("Authorization"))
        if token is None:
            raise InvalidRequest("send an access token: Authorization: Bearer TOKEN", reason="no_token")
        now = timezone.now()
        verified = access_tokens.verify(token, now=now)
        access_tokens.require_unexpired(verified, now=now, leeway=ciam_settings.RESOURCE_LEEWAY)
        # Neither the audience nor RESOURCE_CHECKS_REVOCATION matters: whatever its audience is, a token with
        # openid is also meant for asking its issuer about the user.
        live = access_tokens.require_live(verified)
        if "openid" not in verified.scope:
            raise InsufficientScope("the access token needs the scope openid", reason="no_openid_scope")
        return Response(claims(live), headers=NO_STORE)

    # OpenID Connect Core §5.3.1 asks for POST as well; the token is still in the header.
    post = get

    def handle_exception(self, exc: Exception) -> Response:
        """Add the challenge of RFC 6750 §3."""
        response = super().handle_exception(exc)
        header = _CHALLENGES.get((response.data["error"], response.status_code))
        if header is not None:
            response["WWW-Authenticate"] = header
        return response


def claims(token: LiveAccessToken) -> dict[str, Any]:
    """Return the claims that the scope of a token gives access to (OpenID Connect Core §5.4).

    Raises:
        ImproperlyConfigured: ``USER_CLAIMS`` returns something other than a dict, or a dict with a ``sub``.
    """
    sub = {"sub": token.verified.claims["sub"]}
    if token.user is None:
        return sub
    standard = _standard_claims(token.user, token.verified.scope)
    members = {**sub, **standard, **_site_claims(token, token.user)}
    # Encoded here, because here an error is still answered in JSON. Dates are written as in the id_token.
    text = json.dumps(
        {name: value for name, value in members.items() if value is not None},
        cls=DjangoJSONEncoder,
        allow_nan=False,
    )
    return json.loads(text)  # type: ignore[no-any-return]


def _standard_claims(user: AbstractBaseUser, scope: tuple[str, ...]) -> dict[str, Any]:
    """Return the claims that a user model like Django's can answer, without those that have no value."""
    found: dict[str, Any] = {}
    if "profile" in scope:
        full_name = getattr(user, "get_full_name", None)
        found["name"] = "" if full_name is None else full_name()
        found["given_name"] = getattr(user, "first_name", "")
        found["family_name"] = getattr(user, "last_name", "")
        found["preferred_username"] = user_name(user)
    if "email" in scope:
        found["email"] = getattr(user, user.get_email_field_name(), "")
    # A user model may hold a phone number or a name as an object.
    return {name: str(value) for name, value in found.items() if value}


def _site_claims(token: LiveAccessToken, user: AbstractBaseUser) -> Mapping[str, Any]:
    source = ciam_settings.USER_CLAIMS
    if source is None:
        return {}
    found = source(user=user, client=token.client, scope=token.verified.scope)
    if not isinstance(found, Mapping):
        raise ImproperlyConfigured("CIAM_TOKEN['USER_CLAIMS'] must return a dict of claims.")
    if "sub" in found:
        # OpenID Connect Core §5.3.2: if it differs from the id_token's, the client must not use the answer.
        raise ImproperlyConfigured("CIAM_TOKEN['USER_CLAIMS'] must not return the claim sub.")
    return found
