"""Its two classes: the one that reads the user, and the stateless one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.urls import path
from rest_framework_simplejwt.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from rest_framework_simplejwt.tokens import AccessToken

from benchmarks.in_process import bearer
from benchmarks.sites.bare import view

urlpatterns = [
    path("checked", view(JWTAuthentication)),
    path("stateless", view(JWTStatelessUserAuthentication)),
]


def targets(sessions: int) -> dict[str, dict[str, Any]]:
    """Fill the database; return the requests by what they measure."""
    user = get_user_model().objects.create_user("alice", password="correct horse")
    headers = _fresh(user, 64)
    return {
        "checked": {"path": "/checked", "headers": headers},
        "checked, new tokens": {"path": "/checked", "fresh": lambda number: _fresh(user, number)},
        "stateless": {"path": "/stateless", "headers": headers},
        "stateless, new tokens": {"path": "/stateless", "fresh": lambda number: _fresh(user, number)},
    }


def _fresh(user: Any, number: int) -> list[dict[str, str]]:
    """Return requests with new tokens."""
    headers = []
    for _ in range(number):
        token = AccessToken.for_user(user)
        token.set_exp(lifetime=timedelta(days=1))
        headers.append(bearer(str(token)))
    return headers
