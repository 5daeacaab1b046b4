"""The other packages as their users see them: signing in, refreshing and revoking, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from io import StringIO
from urllib.parse import parse_qs, urlencode, urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db.models import F
from django.test import Client as Browser
from django.utils import timezone

from django_ciam_token.clients.registration import create_client
from django_ciam_token.models import Client

REDIRECT_URI = "https://app.example.com/callback"
PASSWORD = "correct horse"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


@dataclass(frozen=True)
class Answer:
    status: int
    location: str
    body: bytes

    def json(self):
        return json.loads(self.body)


class Site:
    def __init__(self, url):
        self.url = url
        self._opener = urllib.request.build_opener(_NoRedirects)

    def request(self, path, form=None, **headers):
        data = None if form is None else urlencode(form).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with self._opener.open(request) as response:
                return Answer(response.status, "", response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers.get("Location", ""), error.read())

    def refresh(self, registered, token):
        """Refresh at this app."""
        form = {"grant_type": "refresh_token", "client_id": registered.client_id, "refresh_token": token}
        return self.request(f"{settings.OUR_PREFIX}/oauth2/token", {**form, **registered.credentials})

    def code_for(self, path, registered, user, **parameters):
        """Let a user who is signed in authorize a client; return the code and the verifier."""
        browser = Browser()
        browser.force_login(user)
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        query = urlencode(
            {
                "response_type": "code",
                "client_id": registered.client_id,
                "redirect_uri": REDIRECT_URI,
                "state": "state-of-the-application",
                "code_challenge": challenge.decode(),
                "code_challenge_method": "S256",
                **parameters,
            }
        )
        cookie = f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"
        answer = self.request(f"{path}?{query}", Cookie=cookie)
        assert answer.status == 302, answer
        return parse_qs(urlsplit(answer.location).query)["code"][0], verifier


@dataclass(frozen=True)
class Registered:
    client_id: str
    secret: str = ""

    @property
    def credentials(self):
        return {"client_secret": self.secret} if self.secret else {}


def new_user():
    name = f"person-{secrets.token_hex(4)}@example.com"
    model = get_user_model()
    return model.objects.create_user(**{model.USERNAME_FIELD: name, "password": PASSWORD})


def run_import(package, *arguments):
    output = StringIO()
    call_command("import_from", package.name, *arguments, "--json", stdout=output, stderr=StringIO())
    return json.loads(output.getvalue())


class CodeFlow:
    """A package that is an authorization server."""

    authorize: str
    token: str

    def sign_in(self, site, registered, user):
        code, verifier = site.code_for(self.authorize, registered, user, scope="openid read")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        form |= {"client_id": registered.client_id, "code_verifier": verifier, **registered.credentials}
        answer = site.request(self.token, form)
        assert answer.status == 200, answer
        return answer.json()["refresh_token"]

    def refresh(self, site, registered, token):
        form = {"grant_type": "refresh_token", "client_id": registered.client_id, "refresh_token": token}
        return site.request(self.token, {**form, **registered.credentials})

    def revoke(self, site, registered, token):
        form = {"client_id": registered.client_id, "token": token, **registered.credentials}
        assert site.request(self.revocation, form).status == 200


class Toolkit(CodeFlow):
    name = "oauth_toolkit"
    authorize, token, revocation = "/o/authorize/", "/o/token/", "/o/revoke_token/"
    kinds = ("confidential", "secret in clear", "public")
    scope = "openid read"
    remembers_older_tokens = True

    def register(self, kind="public"):
        from oauth2_provider.models import Application

        secret = secrets.token_urlsafe(48)
        application = Application.objects.create(
            name="Portal",
            client_id=f"portal-{secrets.token_hex(4)}",
            client_secret=secret,
            hash_client_secret=kind != "secret in clear",
            client_type="public" if kind == "public" else "confidential",
            authorization_grant_type="authorization-code",
            redirect_uris=REDIRECT_URI,
            allowed_origins="https://app.example.com",
            post_logout_redirect_uris="https://app.example.com/bye",
            skip_authorization=True,
            algorithm="RS256",
        )
        return Registered(application.client_id, "" if kind == "public" else secret)

    def let_time_pass(self, **amount):
        from oauth2_provider.models import AccessToken, RefreshToken

        step = timedelta(**amount)
        RefreshToken.objects.update(created=F("created") - step, revoked=F("revoked") - step)
        AccessToken.objects.update(created=F("created") - step, expires=F("expires") - step)


class Allauth(CodeFlow):
    name = "allauth"
    authorize, token = "/identity/o/authorize", "/identity/o/api/token"
    revocation = "/identity/o/api/revoke"
    kinds = ("confidential", "public")
    scope = "openid read"
    remembers_older_tokens = False

    def register(self, kind="public"):
        from allauth.idp.oidc.models import Client as AllauthClient

        client = AllauthClient(
            id=f"portal-{secrets.token_hex(4)}",
            name="Portal",
            type="public" if kind == "public" else "confidential",
            scopes="openid\nread",
            grant_types="authorization_code\nrefresh_token",
            redirect_uris=REDIRECT_URI,
            cors_origins="https://app.example.com",
            skip_consent=True,
        )
        secret = secrets.token_urlsafe(48)
        client.set_secret(secret)
        client.save()
        return Registered(client.pk, "" if kind == "public" else secret)

    def let_time_pass(self, **amount):
        from allauth.idp.oidc.models import Token

        step = timedelta(**amount)
        Token.objects.filter(expires_at=None).update(expires_at=timezone.now() + timedelta(days=14))
        Token.objects.update(created_at=F("created_at") - step, expires_at=F("expires_at") - step)


class SimpleJWT:
    name = "simplejwt"
    kinds = ("public",)
    scope = "openid read write"
    remembers_older_tokens = False

    def register(self, kind="public"):
        if not Client.objects.filter(client_id="jwt-portal").exists():
            create_client(
                name="Portal", application_type="spa", client_id="jwt-portal", scope="openid read write"
            )
        return Registered("jwt-portal")

    def sign_in(self, site, registered, user):
        answer = site.request("/jwt/token", {user.USERNAME_FIELD: user.get_username(), "password": PASSWORD})
        assert answer.status == 200, answer
        return answer.json()["refresh"]

    def refresh(self, site, registered, token):
        answer = site.request("/jwt/refresh", {"refresh": token})
        body = re.sub(rb'"refresh":', b'"refresh_token":', answer.body)
        return Answer(answer.status, "", body)

    def revoke(self, site, registered, token):
        from rest_framework_simplejwt.tokens import RefreshToken

        RefreshToken(token).blacklist()

    def let_time_pass(self, **amount):
        from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

        step = timedelta(**amount)
        BlacklistedToken.objects.update(blacklisted_at=F("blacklisted_at") - step)
        OutstandingToken.objects.update(created_at=F("created_at") - step, expires_at=F("expires_at") - step)


PACKAGES = (Toolkit, Allauth, SimpleJWT)


def release_of(distribution):
    return tuple(int(part) for part in version(distribution).split(".")[:2])
