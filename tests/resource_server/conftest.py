"""Views that are protected by access tokens, and how the tests call them."""

from __future__ import annotations

import json

import jwt
import pytest
from django.contrib.auth import get_user_model
from django.test import Client as Browser
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from django_ciam_token.crypto import jose
from django_ciam_token.keys import key_set
from django_ciam_token.resource_server import AccessTokenAuthentication

NO_TOKEN = 'Bearer realm="api"'
NOT_VALID = 'Bearer realm="api", error="invalid_token", error_description="the access token is not valid"'
EXPIRED = 'Bearer realm="api", error="invalid_token", error_description="the access token has expired"'


class UserHeader(BaseAuthentication):
    """Another way to authenticate: an X-User header with a user name."""

    def authenticate(self, request):
        name = request.headers.get("X-User")
        return (get_user_model().objects.get(username=name), None) if name else None


class Whoami(APIView):
    authentication_classes = [AccessTokenAuthentication, UserHeader]
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"user": str(request.user), "pk": request.user.pk})

    post = put = get


def view(*permissions, base=Whoami, **attributes):
    return type("View", (base,), {"permission_classes": permissions, **attributes}).as_view()


@pytest.fixture(autouse=True)
def _site(request, settings, monkeypatch):
    """Each test module is a site with URLs of its own."""
    settings.ROOT_URLCONF = request.module.__name__
    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)


@pytest.fixture
def access_token(first_tokens):
    return first_tokens["access_token"]


def get(url="/whoami", token=None, *, method="get", authorization=None, **extra):
    if token is not None:
        authorization = f"Bearer {token}"
    if authorization is not None:
        extra["HTTP_AUTHORIZATION"] = authorization
    return getattr(Browser(raise_request_exception=False), method)(url, **extra)


def resign(token, *, typ="JWT", key=None, drop=(), **changes):
    """Return the same token with other claims, signed with the site's own key."""
    claims = {**jwt.decode(token, options={"verify_signature": False}), **changes}
    for name in drop:
        del claims[name]
    return jose.sign(claims, key=key or key_set.current().signing_pair(timezone.now()), typ=typ)


def configure(settings, **values):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, **values}


def in_seconds(seconds):
    return int(timezone.now().timestamp()) + seconds


def assert_refused(response, header=NOT_VALID):
    detail = "the access token has expired" if header == EXPIRED else "the access token is not valid"
    assert response.status_code == 401, response.content
    assert response["WWW-Authenticate"] == header
    assert response.content == json.dumps({"detail": detail}, separators=(",", ":")).encode()


def assert_insufficient(response, scope, realm="api"):
    assert response.status_code == 403, response.content
    assert (
        response["WWW-Authenticate"] == f'Bearer realm="{realm}", error="insufficient_scope", scope="{scope}"'
    )
    assert response.json() == {"detail": "You do not have permission to perform this action."}
