"""Tokens that are not ours, which can be left to the next authentication class; ours never are."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from django.contrib.auth import get_user_model
from django.urls import path
from rest_framework.authentication import BaseAuthentication

from django_ciam_token.crypto import jose
from django_ciam_token.models import SigningKey
from django_ciam_token.resource_server import AccessTokenAuthentication
from tests.resource_server.conftest import (
    NO_TOKEN,
    Whoami,
    assert_refused,
    configure,
    get,
    in_seconds,
    resign,
)

pytestmark = pytest.mark.django_db

ISSUER = "https://id.example.com"


class Other(BaseAuthentication):
    """Somebody else's class: it takes every token for one of `bob`."""

    def authenticate(self, request):
        if "Authorization" not in request.headers:
            return None
        return get_user_model().objects.get(username="bob"), None


class Passing(AccessTokenAuthentication):
    pass_on_foreign_tokens = True


class Strict(AccessTokenAuthentication):
    pass_on_foreign_tokens = False


urlpatterns = [
    path("by-setting", Whoami.as_view(authentication_classes=[AccessTokenAuthentication, Other])),
    path("passing", Whoami.as_view(authentication_classes=[Passing, Other])),
    path("strict", Whoami.as_view(authentication_classes=[Strict, Other])),
    path("alone", Whoami.as_view(authentication_classes=[Passing])),
]


@pytest.fixture(autouse=True)
def _bob(django_user_model):
    django_user_model.objects.create_user("bob")


def forged(claims, **header):
    """A JWT that nobody signed."""
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256", **header}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), "AAAA"])


def of_simplejwt():
    return jwt.encode({"token_type": "access", "user_id": "1", "exp": in_seconds(60)}, "s" * 32, "HS256")


FOREIGN = {
    "opaque": lambda: "a" * 40,
    "of characters that no token has": lambda: "a,b",
    "of simplejwt": of_simplejwt,
    "of another issuer": lambda: forged({"iss": "https://other.example"}, kid="x"),
    "with another issuer's list": lambda: forged({"iss": [ISSUER + "/x"]}),
    "whose claims are a list": lambda: forged([ISSUER]),
    "whose claims are no text": lambda: "a." + base64.urlsafe_b64encode(b"\xff" * 9).decode() + ".b",
    "nested too deeply": lambda: "a." + base64.urlsafe_b64encode(b"[" * 30_000).decode().rstrip("=") + ".b",
    "encrypted": lambda: "a.b.c.d.e",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_token_is_left_to_the_next_class_where_the_site_says_so(settings, kind):
    token = FOREIGN[kind]()

    assert get("/passing", token).json()["user"] == "bob"
    assert_refused(get("/by-setting", token))
    configure(settings, PASS_ON_FOREIGN_TOKENS=True)
    assert get("/by-setting", token).json()["user"] == "bob"
    assert_refused(get("/strict", token))


OURS = {
    "unsigned": lambda token: forged({"iss": ISSUER}, alg="none"),
    "of another algorithm": lambda token: jwt.encode({"iss": ISSUER, "user_id": "1"}, "s" * 32, "HS256"),
    "in a list": lambda token: forged({"iss": ["x", ISSUER]}),
    "with a broken header": lambda token: "e30x." + token.split(".")[1] + ".AAAA",
    "with more parts": lambda token: token + ".AAAA",
    "without a signature": lambda token: token.rpartition(".")[0],
    "altered": lambda token: token[:-8] + "AAAAAAAA",
    "expired": lambda token: resign(token, exp=in_seconds(-1)),
    "for another audience": lambda token: resign(token, aud="https://other.example", client_id="x"),
}


@pytest.mark.parametrize("kind", OURS)
def test_a_token_that_claims_our_issuer_and_does_not_verify_is_refused(access_token, kind):
    response = get("/passing", OURS[kind](access_token))

    assert response.status_code == 401
    assert 'error="invalid_token"' in response["WWW-Authenticate"]


def test_our_own_token_is_accepted(user, access_token):
    assert get("/passing", access_token).json()["user"] == user.username


def test_our_refresh_token_is_not_handed_to_others(first_tokens):
    assert_refused(get("/passing", first_tokens["refresh_token"]))


def test_a_token_of_ours_that_names_another_issuer_is_foreign(access_token):
    pem = jose.generate_private_key("ES256")
    key = jose.SigningKeyPair(SigningKey.objects.get().kid, "ES256", jose.parse_private_key(pem))

    assert get("/passing", resign(access_token, key=key, iss="https://x.example")).json()["user"] == "bob"


def test_without_another_class_a_foreign_token_is_as_good_as_none():
    response = get("/alone", "opaque")

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == NO_TOKEN


def test_a_header_with_two_tokens_is_malformed_whoever_issued_them():
    assert get("/passing", authorization="Bearer a b").status_code == 400
