"""The site's own views, protected by access tokens: one request, one answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import uuid
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, ProgrammingError
from django.test import Client as Browser
from django.urls import path
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission, IsAdminUser, IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from django_ciam_token import resource_server
from django_ciam_token.api import issue_tokens
from django_ciam_token.crypto import jose
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import RefreshToken, RevokedAccessToken, SigningKey
from django_ciam_token.resource_server import (
    AccessTokenAuthentication,
    MachineUser,
    TokenHasAnyScope,
    TokenHasScopes,
    has_any_scope,
    has_scopes,
)
from django_ciam_token.tokens import access_tokens
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db

ISSUER = "https://id.example.com"
NO_TOKEN = 'Bearer realm="api"'
NOT_VALID = 'Bearer realm="api", error="invalid_token", error_description="the access token is not valid"'
EXPIRED = 'Bearer realm="api", error="invalid_token", error_description="the access token has expired"'
MALFORMED = (
    'Bearer realm="api", error="invalid_request", '
    'error_description="send one access token: Authorization: Bearer TOKEN"'
)


class UserHeader(BaseAuthentication):
    """Another way to authenticate: an X-User header with a user name."""

    def authenticate(self, request):
        name = request.headers.get("X-User")
        return (get_user_model().objects.get(username=name), None) if name else None


class Nobody(BasePermission):
    message = "nobody may"

    def has_permission(self, request, view):
        return False


class Whoami(APIView):
    authentication_classes = [AccessTokenAuthentication, UserHeader]
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response({"user": str(request.user), "pk": request.user.pk})

    post = put = get


class Portal(AccessTokenAuthentication):
    www_authenticate_realm = 'the "portal"'


class ByMethod(Whoami):
    permission_classes = [TokenHasScopes]
    required_scopes = {"GET": ["email"], "POST": ["openid", "orders:write"], "OPTIONS": []}


class AnyByView(Whoami):
    permission_classes = [TokenHasAnyScope]
    required_scopes = ("orders:read", "email")


def view(*permissions, base=Whoami, **attributes):
    return type("View", (base,), {"permission_classes": permissions, **attributes}).as_view()


urlpatterns = [
    path("whoami", Whoami.as_view()),
    path("portal", view(has_scopes("orders"), authentication_classes=[Portal])),
    path("by-method", ByMethod.as_view()),
    path("any-by-view", AnyByView.as_view()),
    path("all", view(has_scopes("openid", "orders"))),
    path("all-held", view(has_scopes("openid", "email"))),
    path("any", view(has_any_scope("orders", "invoices"))),
    path("any-held", view(has_any_scope("orders", "email"))),
    path("any-of-none", view(has_any_scope())),
    path("none", view(TokenHasScopes, required_scopes=[])),
    path("orders-or-admin", view(has_scopes("orders") | IsAdminUser)),
    path("admin-or-orders", view(IsAdminUser | has_scopes("orders"))),
    path("both", view(has_scopes("email") & has_scopes("orders"))),
    path("orders-and-more-or-admin", view((IsAuthenticated & has_scopes("orders")) | IsAdminUser)),
    path("not", view(~has_scopes("orders"))),
    path("held-but-nobody", view(has_scopes("email"), Nobody)),
    path("undeclared", view(TokenHasScopes)),
    path("letters", view(TokenHasScopes, required_scopes="orders")),
    path("two-in-one", view(TokenHasScopes, required_scopes=["a b"])),
]


@pytest.fixture(autouse=True)
def _site(settings, monkeypatch):
    settings.ROOT_URLCONF = __name__
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
    """The same token with other claims, signed by the site's own key."""
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


# Who it is


@pytest.mark.parametrize("profile", ["ciam", "rfc9068"])
@pytest.mark.parametrize("audience", ["", "https://api.example.com"])
def test_an_access_token_of_either_profile_authenticates_its_user(settings, user, profile, audience):
    configure(settings, ACCESS_TOKEN_PROFILE=profile, RESOURCE_AUDIENCES=[audience] if audience else None)
    token = issue_tokens(client=ClientFactory(audience=audience), user=user)["access_token"]

    response = get(token=token)

    assert response.status_code == 200
    assert response.json() == {"user": user.username, "pk": user.pk}
    assert "WWW-Authenticate" not in response


def test_the_request_carries_the_user_the_client_and_the_claims(web_client, user, access_token):
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {access_token}")
    request = APIView(authentication_classes=[AccessTokenAuthentication]).initialize_request(request)

    with pytest.raises(AttributeError):
        request.ciam_challenge  # noqa: B018
    found, token = AccessTokenAuthentication().authenticate(request)

    assert found == user
    assert (token.user, token.client) == (user, web_client)
    assert token.verified.scope == ("openid", "profile", "email")
    assert token.verified.claims["sub"] == str(user.pk)
    assert access_token not in repr(token)


@pytest.mark.parametrize("refresh_tokens_enabled", [True, False])
def test_a_machine_is_a_user_that_has_no_row(refresh_tokens_enabled):
    machine = ClientFactory(application_type="m2m", refresh_tokens_enabled=refresh_tokens_enabled)

    response = get(token=issue_tokens(client=machine)["access_token"])

    assert response.json() == {"user": machine.client_id, "pk": f"client:{machine.client_id}"}


def test_what_a_machine_user_is_and_is_not(machine):
    user = MachineUser(client=machine)

    assert user.is_authenticated is True
    assert user.is_active is True
    assert user.is_anonymous is False
    assert (user.is_staff, user.is_superuser) == (False, False)
    assert user.pk == user.id == f"client:{user.client.client_id}"
    assert user.username == user.get_username() == str(user) == machine.client_id
    assert not user.has_perm("auth.view_user")
    assert not user.has_perms([])
    assert not user.has_module_perms("auth")
    with pytest.raises(AttributeError):
        user.client = None


def test_a_token_without_a_session_authenticates_its_user(user):
    token = issue_tokens(client=ClientFactory(refresh_tokens_enabled=False), user=user)["access_token"]

    assert get(token=token).json()["pk"] == user.pk


# How it is sent


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_scheme_is_accepted_in_any_case(access_token, scheme):
    assert get(authorization=f"{scheme} {access_token}").status_code == 200


@pytest.mark.parametrize("authorization", [None, "", "Basic eDp5", "Bearerx abc", "Token abc"])
def test_without_a_bearer_token_the_challenge_names_no_error(authorization):
    response = get(authorization=authorization)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == NO_TOKEN
    assert response.json() == {"detail": "Authentication credentials were not provided."}


def test_another_scheme_is_left_to_the_next_class(user):
    response = get(authorization="Basic eDp5", HTTP_X_USER=user.username)

    assert response.json()["pk"] == user.pk


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer ", "bearer a b", "Bearer a, Bearer b"])
def test_no_token_or_more_than_one_is_a_malformed_request(authorization):
    response = get(authorization=authorization)

    assert response.status_code == 400
    assert response["WWW-Authenticate"] == MALFORMED
    assert response.json() == {"detail": "send one access token: Authorization: Bearer TOKEN"}


@pytest.mark.parametrize(
    "token", ["a,b", 'a"b', "é", "a=b", "=", "abc", "a.b.c", "a.b", "....", "{}", "\x00"]
)
def test_what_is_no_jwt_is_an_invalid_token(token):
    assert_refused(get(token=token))


@pytest.mark.parametrize("token", ["a,b", "a=b", "=", 'a"b'])
def test_a_character_that_no_token_has_is_refused_before_anything_is_parsed(traces, token):
    get(token=token)

    assert any("/whoami refused: malformed_token" in line for line in traces.logged)


def test_a_header_nested_too_deeply_is_an_invalid_token():
    header = base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=")

    assert_refused(get(token=f"{header}.e30.AAAA"))


@pytest.mark.parametrize("place", ["query", "form"])
def test_the_token_is_read_from_the_header_only(traces, access_token, place):
    if place == "query":
        # Django's own log has the URL: one reason not to take tokens from there.
        traces.secrets.clear()
        response = get(f"/whoami?access_token={access_token}")
    else:
        response = get(method="post", data={"access_token": access_token})

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == NO_TOKEN


def test_a_refusal_is_logged_with_its_reason_and_without_the_token(traces, access_token):
    get(token=resign(access_token, exp=in_seconds(-1)))

    [logged] = [line for line in traces.logged if "request_refused" in line]
    assert "/whoami refused: expired" in logged


# What is refused


def test_an_id_token_is_refused(first_tokens):
    assert_refused(get(token=first_tokens["id_token"]))


def test_an_id_token_is_refused_in_the_form_of_rfc_9068(settings, web_client, user):
    configure(settings, ACCESS_TOKEN_PROFILE="rfc9068")

    assert_refused(get(token=issue_tokens(client=web_client, user=user)["id_token"]))


def test_an_id_token_to_which_the_site_adds_claims_is_refused(settings, web_client, user):
    configure(settings, ID_TOKEN_CLAIMS=lambda **_: {"roles": ["admin"], "groups": "x"})

    assert_refused(get(token=issue_tokens(client=web_client, user=user)["id_token"]))


def test_a_refresh_token_is_refused(first_tokens):
    assert_refused(get(token=first_tokens["refresh_token"]))


def test_a_token_signed_by_a_removed_key_is_refused(access_token):
    assert get(token=access_token).status_code == 200
    signing_keys.rotate(compromised=True)
    key_set.forget()

    assert_refused(get(token=access_token))


def test_a_token_signed_by_a_retired_key_is_accepted(access_token):
    signing_keys.rotate(immediately=True)
    key_set.forget()

    assert get(token=access_token).status_code == 200


def test_a_token_signed_by_a_key_of_somebody_else_is_refused(access_token):
    pem = jose.generate_private_key("RS256")
    key = jose.SigningKeyPair(
        kid=SigningKey.objects.get().kid, algorithm="RS256", private_key=jose.parse_private_key(pem)
    )

    assert_refused(get(token=resign(access_token, key=key)))


@pytest.mark.parametrize("signature", ["", "AAAA"])
@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
def test_a_token_without_a_signature_is_refused(access_token, alg, signature):
    assert_refused(get(token=f"{_header(alg=alg)}.{access_token.split('.')[1]}.{signature}"))


def test_a_token_whose_hmac_secret_is_the_public_key_is_refused(access_token):
    jwk = SigningKey.objects.get().public_jwk
    pem = jwt.PyJWK(jwk).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), json.dumps(jwk).encode()):
        signed = f"{_header(alg='HS256')}.{access_token.split('.')[1]}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()

        assert_refused(get(token=f"{signed}.{_b64(mac)}"))


def test_a_token_that_brings_its_own_key_is_refused(access_token):
    pem = jose.generate_private_key("RS256")
    private_key = jose.parse_private_key(pem)
    jwk = jose.public_jwk(private_key, "RS256")
    claims = jwt.decode(access_token, options={"verify_signature": False})
    token = jwt.encode(claims, private_key, algorithm="RS256", headers={"kid": jwk["kid"], "jwk": jwk})

    assert_refused(get(token=token))


def test_a_token_whose_claims_were_changed_is_refused(access_token):
    header, payload, signature = access_token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed = _b64(json.dumps({**claims, "sub": "1"}).encode())

    assert_refused(get(token=f"{header}.{changed}.{signature}"))


def test_a_token_of_another_issuer_is_refused(settings, access_token):
    assert_refused(get(token=resign(access_token, iss="https://other.example")))
    configure(settings, ISSUER="https://id.example.org")
    assert_refused(get(token=access_token))


def test_a_token_for_another_audience_is_refused(settings, web_client, user, access_token):
    assert_refused(
        get(token=resign(access_token, aud="https://other.example", client_id=web_client.client_id))
    )
    # An audience that the operator gave the client is meant for some other API unless it is named here.
    client = ClientFactory(audience="https://api.example.com")
    assert_refused(get(token=issue_tokens(client=client, user=user)["access_token"]))


def test_the_audiences_of_the_setting_replace_those_of_the_clients(settings, user, access_token):
    for_api = ClientFactory(audience="https://api.example.com")
    token = issue_tokens(client=for_api, user=user)["access_token"]
    configure(settings, RESOURCE_AUDIENCES=["https://api.example.com"])

    assert get(token=token).status_code == 200
    assert_refused(get(token=access_token))
    configure(settings, RESOURCE_AUDIENCES=[])
    assert_refused(get(token=token))


@pytest.mark.parametrize("checks", [True, False])
def test_a_token_whose_client_is_not_its_sessions_is_refused(settings, access_token, checks):
    configure(settings, RESOURCE_CHECKS_REVOCATION=checks)

    assert_refused(get(token=resign(access_token, client_id=ClientFactory().client_id)))


def test_an_expired_token_is_refused_and_told_so(settings, access_token):
    assert_refused(get(token=resign(access_token, exp=in_seconds(-1))), EXPIRED)


def test_within_the_leeway_an_expired_token_and_an_early_one_are_accepted(settings, access_token):
    expired, early = resign(access_token, exp=in_seconds(-30)), resign(access_token, nbf=in_seconds(30))
    configure(settings, RESOURCE_LEEWAY=60)

    assert get(token=expired).status_code == 200
    assert get(token=early).status_code == 200
    assert_refused(get(token=resign(access_token, exp=in_seconds(-61))), EXPIRED)
    assert_refused(get(token=resign(access_token, nbf=in_seconds(90))))


def test_a_token_that_is_not_yet_valid_is_refused(access_token):
    assert_refused(get(token=resign(access_token, nbf=in_seconds(30))))


@pytest.mark.parametrize("claim", ["exp", "iat", "iss", "sub", "aud", "jti", "scope"])
def test_a_token_that_lacks_a_claim_is_refused(access_token, claim):
    assert_refused(get(token=resign(access_token, drop=[claim])))


def test_a_token_of_an_unknown_session_is_refused(settings, access_token):
    token = resign(access_token, sid=str(uuid.uuid4()))

    assert_refused(get(token=token))
    configure(settings, RESOURCE_CHECKS_REVOCATION=False)
    assert_refused(get(token=token))


def _revoke_session(client, user, claims):
    RefreshToken.objects.update(revoked_at=timezone.now())


def _revoke_jti(client, user, claims):
    RevokedAccessToken.objects.create(jti=claims["jti"], expires_at=timezone.now() + timedelta(seconds=300))


def _change_password(client, user, claims):
    user.set_password("battery staple")
    user.save()


def _disable_refresh_tokens(client, user, claims):
    client.refresh_tokens_enabled = False
    client.save()


def _disable_user(client, user, claims):
    user.is_active = False
    user.save()


def _delete_user(client, user, claims):
    user.delete()


def _disable_client(client, user, claims):
    client.is_active = False
    client.save()


def _delete_client(client, user, claims):
    client.delete()


def _withdraw_scope(client, user, claims):
    client.scope = "openid"
    client.save()


ENDED = [_revoke_session, _revoke_jti, _change_password, _disable_refresh_tokens]
GONE = [_disable_user, _delete_user, _disable_client, _delete_client, _withdraw_scope]


@pytest.mark.parametrize("end", [*ENDED, *GONE])
@pytest.mark.parametrize("profile", ["ciam", "rfc9068"])
def test_a_token_that_was_ended_is_refused(settings, web_client, user, end, profile):
    configure(settings, ACCESS_TOKEN_PROFILE=profile)
    token = issue_tokens(client=web_client, user=user)["access_token"]
    assert get(token=token).status_code == 200

    end(web_client, user, jwt.decode(token, options={"verify_signature": False}))

    assert_refused(get(token=token))


@pytest.mark.parametrize("end", ENDED)
def test_when_revocation_is_not_checked_an_ended_token_is_good_until_it_expires(
    settings, web_client, user, access_token, end
):
    configure(settings, RESOURCE_CHECKS_REVOCATION=False)
    end(web_client, user, jwt.decode(access_token, options={"verify_signature": False}))

    assert get(token=access_token).status_code == 200


@pytest.mark.parametrize("end", GONE)
def test_when_revocation_is_not_checked_user_and_client_still_are(
    settings, web_client, user, access_token, end
):
    configure(settings, RESOURCE_CHECKS_REVOCATION=False)
    assert get(token=access_token).status_code == 200

    end(web_client, user, {})

    assert_refused(get(token=access_token))


def test_a_users_session_that_lost_its_user_does_not_become_a_machines(settings, monkeypatch, access_token):
    configure(settings, RESOURCE_CHECKS_REVOCATION=False)
    first = RefreshToken.objects.all().__class__.first

    def without_user(self):
        session = first(self)
        session._state.fields_cache["user"] = None
        return session

    monkeypatch.setattr("django.db.models.QuerySet.first", without_user)

    assert_refused(get(token=access_token))


@pytest.mark.parametrize("checks", [True, False])
def test_a_token_without_a_session_is_refused_once_revoked_whatever_the_setting(settings, user, checks):
    configure(settings, RESOURCE_CHECKS_REVOCATION=checks)
    client = ClientFactory(refresh_tokens_enabled=False)
    token = issue_tokens(client=client, user=user)["access_token"]
    assert get(token=token).status_code == 200

    _revoke_jti(client, user, jwt.decode(token, options={"verify_signature": False}))

    assert_refused(get(token=token))


# What it costs


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("audiences", [None, ["web", "machine"]])
def test_a_request_costs_one_query(settings, django_assert_num_queries, user, checks, audiences):
    configure(settings, RESOURCE_CHECKS_REVOCATION=checks, RESOURCE_AUDIENCES=audiences)
    web = ClientFactory(client_id="web")
    machine = ClientFactory(client_id="machine", application_type="m2m")
    tokens = [issue_tokens(client=web, user=user), issue_tokens(client=machine)]
    key_set.current()

    for token in tokens:
        with django_assert_num_queries(1):
            assert get(token=token["access_token"]).status_code == 200


def test_a_machine_without_a_session_costs_one_query_and_a_user_two(django_assert_num_queries, user):
    machine = ClientFactory(application_type="m2m", refresh_tokens_enabled=False)
    spa = ClientFactory(application_type="spa", refresh_tokens_enabled=False)
    tokens = [issue_tokens(client=machine), issue_tokens(client=spa, user=user)]
    key_set.current()

    for queries, token in enumerate(tokens, start=1):
        with django_assert_num_queries(queries):
            assert get(token=token["access_token"]).status_code == 200


def test_a_forged_or_expired_token_costs_no_query(settings, django_assert_num_queries, access_token):
    configure(settings, RESOURCE_AUDIENCES=["https://api.example.com"])
    key_set.current()
    tokens = ["abc", access_token[:-4] + "AAAA", resign(access_token, exp=1), access_token]

    with django_assert_num_queries(0):
        for token in tokens:
            assert get(token=token).status_code == 401


# When the database is away


@pytest.mark.parametrize("checks", [True, False])
def test_a_database_that_refuses_is_answered_503_and_never_401(settings, monkeypatch, access_token, checks):
    configure(settings, RESOURCE_CHECKS_REVOCATION=checks)
    key_set.current()

    def fail(self):
        raise OperationalError("gone")

    monkeypatch.setattr("django.db.models.QuerySet.first", fail)

    response = get(token=access_token)

    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert response["Content-Type"] == "application/json"
    assert "WWW-Authenticate" not in response
    assert response.json() == {"detail": "try again with the same access token"}


def test_keys_that_cannot_be_read_are_answered_503(monkeypatch, access_token):
    key_set.forget()

    def fail(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(key_set, "_read", fail)

    assert get(token=access_token).status_code == 503


@pytest.mark.parametrize("error", [OperationalError, ProgrammingError])
def test_any_other_database_error_is_answered_503_and_logged(monkeypatch, traces, access_token, error):
    def fail(token, **options):
        raise error("no such table")

    monkeypatch.setattr(access_tokens, "require_live", fail)

    response = get(token=access_token)

    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert any("no such table" in line and "ERROR" in line for line in traces.logged)


def test_a_wrong_setting_is_not_blamed_on_the_token(settings, access_token):
    configure(settings, RESOURCE_LEEWAY="soon")

    assert get(token=access_token).status_code == 500


# What it may do


@pytest.mark.parametrize(
    ("url", "method", "needed"),
    [
        ("/all", "get", "openid orders"),
        ("/any", "get", "orders invoices"),
        ("/both", "get", "orders"),
        ("/orders-or-admin", "get", "orders"),
        ("/admin-or-orders", "get", "orders"),
        ("/orders-and-more-or-admin", "get", "orders"),
        ("/by-method", "post", "openid orders:write"),
    ],
)
def test_a_token_that_lacks_a_scope_is_answered_403_and_told_which(access_token, url, method, needed):
    assert_insufficient(get(url, access_token, method=method), needed)


@pytest.mark.parametrize(
    ("url", "method"),
    [
        ("/all-held", "get"),
        ("/any-held", "get"),
        ("/any-by-view", "get"),
        ("/by-method", "get"),
        ("/by-method", "options"),
        ("/none", "get"),
        ("/not", "get"),
    ],
)
def test_a_token_that_has_the_scopes_is_let_through(access_token, url, method):
    response = get(url, access_token, method=method)

    assert response.status_code == 200
    assert "WWW-Authenticate" not in response


def test_a_narrower_token_of_the_same_session_is_judged_by_its_own_scope(
    settings, web_client, refresh, first_tokens
):
    settings.ROOT_URLCONF = "tests.urls"
    answer = refresh(web_client, first_tokens["refresh_token"], scope="openid profile")
    narrow = answer.json()["access_token"]
    settings.ROOT_URLCONF = __name__

    assert get("/by-method", first_tokens["access_token"]).status_code == 200
    assert_insufficient(get("/by-method", narrow), "email")


@pytest.mark.parametrize("url", ["/orders-or-admin", "/admin-or-orders", "/orders-and-more-or-admin"])
def test_the_other_side_of_an_or_is_asked_as_well(web_client, user, access_token, url):
    user.is_staff = True
    user.save()

    response = get(url, access_token)

    assert response.status_code == 200
    assert "WWW-Authenticate" not in response


def test_head_is_judged_like_get_unless_it_is_named(access_token):
    class Headed(ByMethod):
        required_scopes = {"GET": ["email"], "HEAD": ["orders"]}

        head = ByMethod.get

    class Plain(ByMethod):
        head = ByMethod.get

    request = APIRequestFactory().head("/", HTTP_AUTHORIZATION=f"Bearer {access_token}")

    assert Plain.as_view()(request).status_code == 200
    response = Headed.as_view()(request)
    assert response.status_code == 403
    assert response["WWW-Authenticate"] == 'Bearer realm="api", error="insufficient_scope", scope="orders"'


def test_a_method_that_is_not_named_is_refused_whatever_the_scope(access_token):
    response = get("/by-method", access_token, method="put")

    assert response.status_code == 403
    assert "WWW-Authenticate" not in response


def test_any_of_no_scope_is_no_scope(access_token):
    assert get("/any-of-none", access_token).status_code == 403


def test_the_refusal_of_another_permission_names_no_scope(access_token):
    response = get("/held-but-nobody", access_token)

    assert response.status_code == 403
    assert response.json() == {"detail": "nobody may"}
    assert "WWW-Authenticate" not in response


@pytest.mark.parametrize("url", ["/all", "/any", "/none", "/by-method"])
def test_without_a_token_it_is_401_and_the_challenge_names_no_scope(url):
    response = get(url)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == NO_TOKEN


@pytest.mark.parametrize("url", ["/all", "/any-held", "/none", "/by-method"])
def test_who_was_authenticated_in_another_way_has_no_scopes(user, url):
    response = get(url, HTTP_X_USER=user.username)

    assert response.status_code == 403
    assert "WWW-Authenticate" not in response


def test_the_realm_of_a_subclass_is_in_every_challenge(access_token):
    realm = r"the \"portal\""

    assert get("/portal")["WWW-Authenticate"] == f'Bearer realm="{realm}"'
    assert get("/portal", "abc")["WWW-Authenticate"] == NOT_VALID.replace("api", realm)
    assert_insufficient(get("/portal", access_token), "orders", realm)


@pytest.mark.parametrize("url", ["/undeclared", "/letters", "/two-in-one"])
def test_a_view_that_does_not_say_what_it_requires_serves_nobody(access_token, url):
    response = get(url, access_token)

    assert response.status_code == 500


@pytest.mark.parametrize("names", [("a b",), ("",), (1,), ('"',), (["a"],)])
def test_a_wrong_scope_name_is_found_when_the_view_is_written(names):
    with pytest.raises(ImproperlyConfigured, match="must be a list of scope names"):
        has_scopes(*names)
    with pytest.raises(ImproperlyConfigured, match="must be a list of scope names"):
        has_any_scope(*names)


def test_a_sites_own_tests_can_force_a_token(user, access_token):
    live = resource_server.accept(access_token, now=timezone.now())
    request = APIRequestFactory().get("/")
    force_authenticate(request, user=user, token=live)

    assert view(has_scopes("email"))(request).status_code == 200
    response = view(has_scopes("orders"))(request)
    assert response.status_code == 403
    assert response["WWW-Authenticate"] == 'Bearer realm="api", error="insufficient_scope", scope="orders"'


def test_the_classes_can_be_the_defaults_of_the_site():
    """Django REST framework imports them while it is being imported itself."""
    program = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_ciam_token"],
    CIAM_TOKEN={"ISSUER": "https://id.example.com"},
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["django_ciam_token.resource_server.AccessTokenAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["django_ciam_token.resource_server.TokenHasScopes"],
    },
)
django.setup()
import IMPORTED_FIRST
from rest_framework.views import APIView
print(APIView.authentication_classes[0].__name__, APIView.permission_classes[0].__name__)
"""
    for module in ("rest_framework.views", "django_ciam_token.resource_server", "django_ciam_token.urls"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program.replace("IMPORTED_FIRST", module)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "AccessTokenAuthentication TokenHasScopes\n", done.stderr


def _b64(value):
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _header(*, alg):
    kid = SigningKey.objects.get().kid
    return _b64(json.dumps({"kid": kid, "typ": "JWT", "alg": alg}).encode())
