"""Our protected views, and introspection."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import jwt
from django.contrib.auth import get_user_model
from django.urls import include, path
from django.utils import timezone

from benchmarks.in_process import bearer
from benchmarks.sites.bare import view
from benchmarks.sites.ours.seed import fill
from django_ciam_token.api import issue_tokens
from django_ciam_token.clients.registration import create_client
from django_ciam_token.crypto import jose
from django_ciam_token.keys import key_set
from django_ciam_token.resource_server import AccessTokenAuthentication

urlpatterns = [
    path("checked", view(AccessTokenAuthentication)),
    path("", include("django_ciam_token.urls")),
]


def targets(sessions: int) -> dict[str, dict[str, Any]]:
    """Fill the database; return the requests by what they measure."""
    user = get_user_model().objects.create_user("alice", password="correct horse")
    client, secret = create_client(client_id="portal", name="Portal", application_type="web", scope="openid")
    client.access_token_lifetime = timedelta(days=1)
    client.save()
    if sessions:
        fill(sessions)
    tokens = [issue_tokens(client=client, user=user)["access_token"] for _ in range(64)]
    credentials = f"client_id=portal&client_secret={secret}"
    return {
        "checked": {"path": "/checked", "headers": [bearer(token) for token in tokens]},
        "checked, new tokens": {"path": "/checked", "fresh": lambda number: _fresh(tokens[0], number)},
        "introspect": {
            "path": "/oauth2/introspect",
            "forms": [f"{credentials}&token={token}" for token in tokens],
        },
    }


def _fresh(token: str, number: int) -> list[dict[str, str]]:
    """Return requests with tokens that no process has seen."""
    claims, key = (
        jwt.decode(token, options={"verify_signature": False}),
        key_set.current().signing_pair(timezone.now()),
    )
    return [bearer(jose.sign({**claims, "jti": str(uuid.uuid4())}, key=key)) for _ in range(number)]
