"""Our protected views, and introspection."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, Final

import jwt
from django.contrib.auth import get_user_model
from django.urls import include, path
from django.utils import timezone

from benchmarks.in_process import bearer
from benchmarks.sites.bare import view
from benchmarks.sites.ours.seed import among
from django_ciam_token.api import issue_tokens
from django_ciam_token.clients.registration import create_client
from django_ciam_token.crypto import jose, site_keys
from django_ciam_token.crypto.refresh_token_string import authenticate
from django_ciam_token.keys import key_set
from django_ciam_token.models import RefreshToken
from django_ciam_token.resource_server import AccessTokenAuthentication, StatelessAccessTokenAuthentication

_CHOSEN: Final = 2_000

urlpatterns = [
    path("checked", view(AccessTokenAuthentication)),
    path("stateless", view(StatelessAccessTokenAuthentication)),
    path("", include("django_ciam_token.urls")),
]


def targets(sessions: int) -> dict[str, dict[str, Any]]:
    """Fill the database; return the requests by what they measure.

    Args:
        sessions: how many there are; if any, the requests are spread over them and nothing else is measured.
    """
    user = get_user_model().objects.create_user("alice", password="correct horse")
    client, secret = create_client(client_id="portal", name="Portal", application_type="web", scope="openid")
    client.access_token_lifetime = timedelta(days=1)
    client.save()
    tokens = [issue_tokens(client=client, user=user)["access_token"] for _ in range(64)]
    if sessions:
        return {"spread": {"path": "/checked", "headers": _spread(tokens[0], sessions)}}
    headers = [bearer(token) for token in tokens]
    forms = [f"client_id=portal&client_secret={secret}&token={token}" for token in tokens]
    return {
        "checked": {"path": "/checked", "headers": headers},
        "checked, new tokens": {"path": "/checked", "fresh": lambda number: _fresh(tokens[0], number)},
        "stateless": {"path": "/stateless", "headers": headers},
        "stateless, new tokens": {"path": "/stateless", "fresh": lambda number: _fresh(tokens[0], number)},
        "introspect": {"path": "/oauth2/introspect", "forms": forms},
    }


def _fresh(token: str, number: int) -> list[dict[str, str]]:
    """Return requests with tokens that no process has seen."""
    return [_like(token) for _ in range(number)]


def _spread(token: str, sessions: int) -> list[dict[str, str]]:
    """Fill the table; return requests with tokens of sessions from all over it, in no order."""
    keys = site_keys.token_keys()
    chosen = [authenticate(text, keys).session_id for text in among(sessions, _CHOSEN)]
    users = dict(RefreshToken.objects.filter(pk__in=chosen).values_list("pk", "user_id"))
    return [_like(token, sid=str(session_id), sub=str(users[session_id])) for session_id in chosen]


def _like(token: str, **changes: str) -> dict[str, str]:
    claims = jwt.decode(token, options={"verify_signature": False})
    key = key_set.current().signing_pair(timezone.now())
    return bearer(jose.sign({**claims, "jti": str(uuid.uuid4()), **changes}, key=key))
