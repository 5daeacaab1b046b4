"""Its class for Django REST framework, and introspection."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.urls import include, path
from django.utils import timezone
from oauth2_provider.contrib.rest_framework import OAuth2Authentication
from oauth2_provider.models import AccessToken, Application

from benchmarks.in_process import bearer
from benchmarks.sites.bare import view

urlpatterns = [
    path("checked", view(OAuth2Authentication)),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
]


def targets(sessions: int) -> dict[str, dict[str, Any]]:
    """Fill the database; return the requests by what they measure."""
    user = get_user_model().objects.create_user("alice", password="correct horse")
    secret = secrets.token_urlsafe(32)
    application = Application.objects.create(
        client_id="portal",
        client_secret=secret,
        name="Portal",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris="https://app.example.com/cb",
        algorithm=Application.RS256_ALGORITHM,
    )
    tokens = [secrets.token_urlsafe(32) for _ in range(64)]
    for token in tokens:
        AccessToken.objects.create(
            user=user,
            application=application,
            token=token,
            scope="openid",
            expires=timezone.now() + timedelta(days=1),
        )
    basic = "Basic " + base64.b64encode(f"portal:{secret}".encode()).decode()
    return {
        "checked": {"path": "/checked", "headers": [bearer(token) for token in tokens]},
        "introspect": {
            "path": "/o/introspect/",
            "headers": [{"HTTP_AUTHORIZATION": basic}],
            "forms": [f"token={token}" for token in tokens],
        },
    }
