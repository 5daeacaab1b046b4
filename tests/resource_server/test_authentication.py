"""The site's own views, protected by access tokens: one request, one answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import OperationalError, ProgrammingError
from django.urls import path
from django.utils import timezone
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from django_ciam_token.api import issue_tokens
from django_ciam_token.crypto import jose
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import RefreshToken, RevokedAccessToken, SigningKey
from django_ciam_token.resource_server import AccessTokenAuthentication, has_scopes
from django_ciam_token.tokens import access_tokens
from tests.factories import ClientFactory, UserFactory
from tests.resource_server.conftest import (
    EXPIRED,
    NO_TOKEN,
    NOT_VALID,
    Whoami,
    assert_insufficient,
    assert_refused,
    configure,
    get,
    in_seconds,
    resign,
    view,
)

pytestmark = pytest.mark.django_db

MALFORMED = (
    'Bearer realm="api", error="invalid_request", '
    'error_description="send one access token: Authorization: Bearer TOKEN"'
)


class Portal(AccessTokenAuthentication):
    www_authenticate_realm = 'the "portal"'


urlpatterns = [
    path("whoami", Whoami.as_view()),
    path("portal", view(has_scopes("orders"), authentication_classes=[Portal])),
]


# Who sends it


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


def test_a_token_without_a_session_authenticates_its_user(user):
    token = issue_tokens(client=ClientFactory(refresh_tokens_enabled=False), user=user)["access_token"]

    assert get(token=token).json()["pk"] == user.pk


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "Application/AT+JWT"])
def test_the_type_of_an_access_token_may_be_written_as_any_media_type(access_token, typ):
    """RFC 7515 §4.1.9, RFC 9068 §4; upper and lower case are the same."""
    assert get(token=resign(access_token, typ=typ)).status_code == 200


def test_what_a_site_calls_a_user_is_not_taken_for_anothers_primary_key(settings, user):
    bob = UserFactory()
    configure(settings, SUBJECT=lambda _: str(bob.pk))
    token = issue_tokens(client=ClientFactory(refresh_tokens_enabled=False), user=user)["access_token"]

    assert_refused(get(token=token))

    configure(settings, USER_OF_SUBJECT=lambda _: user)
    assert get(token=token).json()["pk"] == user.pk


# How it is sent


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
def test_a_string_that_is_not_a_jwt_is_an_invalid_token(token):
    assert_refused(get(token=token))


def test_a_header_nested_too_deeply_is_an_invalid_token():
    header = base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=")

    assert_refused(get(token=f"{header}.e30.AAAA"))


@pytest.mark.parametrize("place", ["query", "form"])
def test_the_token_is_read_from_the_header_only(traces, access_token, place):
    if place == "query":
        # Django's own log has the URL, which is one reason not to accept tokens in it.
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
    session = RefreshToken.objects.get()
    assert f"'client_id': '{session.client.client_id}'" in logged
    assert f"'session_id': '{session.pk}'" in logged


def test_a_refusal_of_what_nobody_signed_names_nobody(traces, access_token):
    get(token=f"{access_token[:-4]}AAAA")

    [logged] = [line for line in traces.logged if "request_refused" in line]
    assert "client_id" not in logged


# What is refused


def test_an_id_token_is_refused(first_tokens):
    assert_refused(get(token=first_tokens["id_token"]))


def test_an_id_token_is_refused_with_the_profile_of_rfc_9068_too(settings, web_client, user):
    configure(settings, ACCESS_TOKEN_PROFILE="rfc9068")

    assert_refused(get(token=issue_tokens(client=web_client, user=user)["id_token"]))


def test_an_id_token_to_which_the_site_adds_claims_is_refused(settings, web_client, user):
    configure(settings, ID_TOKEN_CLAIMS=lambda **_: {"roles": ["admin"], "groups": "x"})

    assert_refused(get(token=issue_tokens(client=web_client, user=user)["id_token"]))


def test_an_id_token_that_looks_like_an_access_token_but_for_its_azp_is_refused(first_tokens):
    """Of another service of the same issuer, which signs with the same key."""
    id_token = resign(first_tokens["id_token"], scope="openid", jti=str(uuid.uuid4()))
    assert_refused(get(token=id_token))

    assert get(token=resign(id_token, drop=["azp"])).status_code == 200


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


def test_a_token_signed_by_somebody_elses_key_is_refused(access_token):
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
    # If the operator gave the client an audience, it is meant for some other API unless the setting has it.
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
def test_a_token_with_another_client_than_its_session_is_refused(settings, access_token, checks):
    configure(settings, RESOURCE_CHECKS_REVOCATION=checks)

    assert_refused(get(token=resign(access_token, client_id=ClientFactory().client_id)))


def test_an_expired_token_is_refused_and_the_answer_says_that_it_expired(settings, access_token):
    assert_refused(get(token=resign(access_token, exp=in_seconds(-1))), EXPIRED)


def test_within_the_leeway_an_expired_token_and_an_early_one_are_accepted(settings, access_token):
    expired, early = resign(access_token, exp=in_seconds(-30)), resign(access_token, nbf=in_seconds(30))
    configure(settings, RESOURCE_LEEWAY=60)

    assert get(token=expired).status_code == 200
    assert get(token=early).status_code == 200
    assert_refused(get(token=resign(access_token, exp=in_seconds(-61))), EXPIRED)
    assert_refused(get(token=resign(access_token, nbf=in_seconds(90))))


def test_a_token_that_was_just_issued_is_accepted_by_a_host_whose_clock_is_behind(access_token):
    assert get(token=resign(access_token, nbf=in_seconds(4), iat=in_seconds(4))).status_code == 200
    assert_refused(get(token=resign(access_token, nbf=in_seconds(7))))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", ["1", True, None, [], 1.5, -1, 10**12, 10**400])
def test_a_signed_token_with_odd_dates_is_refused(access_token, name, value):
    assert_refused(get(token=resign(access_token, **{name: value})))


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
def test_a_token_that_is_no_longer_live_is_refused(settings, web_client, user, traces, end, profile):
    configure(settings, ACCESS_TOKEN_PROFILE=profile)
    token = issue_tokens(client=web_client, user=user)["access_token"]
    assert get(token=token).status_code == 200

    end(web_client, user, jwt.decode(token, options={"verify_signature": False}))

    assert_refused(get(token=token))
    if end is _withdraw_scope:
        assert any("'reason': 'scope_withdrawn'" in line for line in traces.logged)


@pytest.mark.parametrize("end", ENDED)
def test_when_revocation_is_not_checked_a_revoked_token_is_accepted_until_it_expires(
    settings, web_client, user, access_token, end
):
    configure(settings, RESOURCE_CHECKS_REVOCATION=False)
    end(web_client, user, jwt.decode(access_token, options={"verify_signature": False}))

    assert get(token=access_token).status_code == 200


@pytest.mark.parametrize("end", GONE)
def test_even_if_revocation_is_not_checked_the_user_and_the_client_are(
    settings, web_client, user, access_token, end
):
    configure(settings, RESOURCE_CHECKS_REVOCATION=False)
    assert get(token=access_token).status_code == 200

    end(web_client, user, {})

    assert_refused(get(token=access_token))


def test_a_session_whose_user_was_deleted_does_not_become_a_machines_session(
    settings, monkeypatch, access_token
):
    configure(settings, RESOURCE_CHECKS_REVOCATION=False)
    read = access_tokens.read_token_of_session

    def without_user(*arguments, **others):
        return replace(read(*arguments, **others), user=None)

    monkeypatch.setattr(access_tokens, "read_token_of_session", without_user)

    assert_refused(get(token=access_token))


@pytest.mark.parametrize("checks", [True, False])
def test_a_revoked_token_without_a_session_is_refused_with_either_setting(settings, user, checks):
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


# When the database is unavailable


@pytest.mark.parametrize("checks", [True, False])
def test_if_the_database_is_unavailable_the_answer_is_503_and_never_401(
    settings, monkeypatch, access_token, checks
):
    configure(settings, RESOURCE_CHECKS_REVOCATION=checks)
    key_set.current()

    def fail(*arguments, **others):
        raise OperationalError("gone")

    monkeypatch.setattr(access_tokens, "read_token_of_session", fail)

    response = get(token=access_token)

    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert response["Content-Type"] == "application/json"
    assert "WWW-Authenticate" not in response
    assert response.json() == {"detail": "try again with the same access token"}


def test_if_the_keys_can_not_be_read_the_answer_is_503(monkeypatch, access_token):
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


def test_the_realm_of_a_subclass_is_in_every_challenge(access_token):
    realm = r"the \"portal\""

    assert get("/portal")["WWW-Authenticate"] == f'Bearer realm="{realm}"'
    assert get("/portal", "abc")["WWW-Authenticate"] == NOT_VALID.replace("api", realm)
    assert_insufficient(get("/portal", access_token), "orders", realm)


def test_the_classes_can_be_the_defaults_of_the_site():
    """Django REST framework imports them while it is itself being imported."""
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
