from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import jwt
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.utils import timezone as django_timezone
from django.utils.translation import gettext_lazy

from django_ciam_token.errors import ServerError
from django_ciam_token.keys import key_set
from django_ciam_token.models import Client, SigningKey
from django_ciam_token.tokens.claims import RESERVED_CLAIMS, Subject, access_token_claims, id_token_claims
from django_ciam_token.tokens.issuing import IssuedTokens, SignedTokens, sign_tokens

ISSUER = "https://id.example.com"
IAT = 1636449231
SESSION_ID = uuid.UUID("0190163d-8694-739b-aea5-966c26f8ad91")
AUTH_TIME = datetime.fromtimestamp(IAT - 3600.5, tz=timezone.utc)
USER = SimpleNamespace(pk=42, email="alice@example.com")


def subject(*, client=None, **fields):
    client = client or Client(client_id="portal", application_type="web")
    stated = {
        "client": client,
        "user": USER,
        "scope": ("openid", "profile"),
        "session_id": SESSION_ID,
        "auth_time": AUTH_TIME,
    }
    return Subject(**{**stated, **fields})


def machine():
    client = Client(client_id="nightly-export", application_type="m2m")
    return subject(client=client, user=None, auth_time=None)


def with_site(**values):
    return override_settings(CIAM_TOKEN={"ISSUER": ISSUER, **values})


def take_jti(claims):
    """Check the one claim that is drawn, and return the others in their order."""
    jti = claims.pop("jti")
    assert str(uuid.UUID(jti, version=4)) == jti
    return list(claims.items())


def test_an_access_token_says_what_the_reference_says():
    claims = access_token_claims(subject(), iat=IAT)

    assert list(claims) == ["sub", "aud", "nbf", "scope", "iss", "exp", "iat", "jti", "sid"]
    assert take_jti(claims) == [
        ("sub", "42"),
        ("aud", "portal"),
        ("nbf", IAT),
        ("scope", ["openid", "profile"]),
        ("iss", ISSUER),
        ("exp", IAT + 300),
        ("iat", IAT),
        ("sid", str(SESSION_ID)),
    ]


def test_an_id_token_says_what_the_reference_says():
    claims = id_token_claims(subject(), iat=IAT)

    assert list(claims) == ["sub", "aud", "azp", "iss", "exp", "iat", "jti", "auth_time", "sid"]
    assert take_jti(claims) == [
        ("sub", "42"),
        ("aud", "portal"),
        ("azp", "portal"),
        ("iss", ISSUER),
        ("exp", IAT + 1800),
        ("iat", IAT),
        ("auth_time", IAT - 3601),
        ("sid", str(SESSION_ID)),
    ]


def test_an_rfc_9068_access_token_says_what_the_rfc_says():
    with with_site(ACCESS_TOKEN_PROFILE="rfc9068"):
        claims = access_token_claims(subject(), iat=IAT)

    assert take_jti(claims) == [
        ("sub", "42"),
        ("aud", "portal"),
        ("nbf", IAT),
        ("scope", "openid profile"),
        ("iss", ISSUER),
        ("exp", IAT + 300),
        ("iat", IAT),
        ("client_id", "portal"),
        ("auth_time", IAT - 3601),
        ("sid", str(SESSION_ID)),
    ]


def test_a_machine_is_its_own_subject_and_never_signed_in():
    access_token = dict(take_jti(access_token_claims(machine(), iat=IAT)))
    id_token = dict(take_jti(id_token_claims(machine(), iat=IAT)))
    with with_site(ACCESS_TOKEN_PROFILE="rfc9068"):
        rfc9068 = dict(take_jti(access_token_claims(machine(), iat=IAT)))

    for claims in (access_token, id_token, rfc9068):
        assert claims["sub"] == claims["aud"] == "nightly-export"
        assert "auth_time" not in claims
    assert rfc9068["client_id"] == "nightly-export"


def test_tokens_without_a_session_name_none():
    for claims_of in (access_token_claims, id_token_claims):
        assert "sid" not in claims_of(subject(session_id=None), iat=IAT)


def test_every_token_has_a_jti_of_its_own():
    drawn = {
        claims_of(subject(), iat=IAT)["jti"]
        for claims_of in (access_token_claims, id_token_claims)
        for _ in range(20)
    }

    assert len(drawn) == 40


def test_an_audience_is_of_access_tokens_only():
    client = Client(client_id="portal", application_type="web", audience="https://api.example.com")

    assert access_token_claims(subject(client=client), iat=IAT)["aud"] == "https://api.example.com"
    id_token = id_token_claims(subject(client=client), iat=IAT)
    assert (id_token["aud"], id_token["azp"]) == ("portal", "portal")


def test_the_lifetimes_are_those_of_the_client_in_whole_seconds():
    client = Client(
        client_id="portal",
        application_type="web",
        access_token_lifetime=timedelta(seconds=61.9),
        id_token_lifetime=timedelta(hours=2),
    )

    assert access_token_claims(subject(client=client), iat=IAT)["exp"] == IAT + 61
    assert id_token_claims(subject(client=client), iat=IAT)["exp"] == IAT + 7200


def test_the_site_says_who_the_subject_of_a_user_is():
    with with_site(SUBJECT=lambda user: user.email):
        assert access_token_claims(subject(), iat=IAT)["sub"] == "alice@example.com"
        assert id_token_claims(subject(), iat=IAT)["sub"] == "alice@example.com"
        assert access_token_claims(machine(), iat=IAT)["sub"] == "nightly-export"


@pytest.mark.parametrize("returned", [7, uuid.UUID(int=7)])
def test_a_subject_is_always_a_string(returned):
    with with_site(SUBJECT=lambda user: returned):
        assert access_token_claims(subject(), iat=IAT)["sub"] == str(returned)


@pytest.mark.parametrize("returned", [None, "", "x" * 256])
def test_a_subject_that_would_not_tell_users_apart_is_refused(returned):
    for claims_of in (access_token_claims, id_token_claims):
        with with_site(SUBJECT=lambda user: returned), pytest.raises(ImproperlyConfigured) as caught:
            claims_of(subject(), iat=IAT)

        assert str(caught.value) == ("CIAM_TOKEN['SUBJECT'] must return 1 to 255 characters for every user.")


def test_a_subject_may_have_255_characters():
    with with_site(SUBJECT=lambda user: "x" * 255):
        assert access_token_claims(subject(), iat=IAT)["sub"] == "x" * 255


HOOKS = [("ACCESS_TOKEN_CLAIMS", access_token_claims), ("ID_TOKEN_CLAIMS", id_token_claims)]


@pytest.mark.parametrize(("setting", "claims_of"), HOOKS)
def test_further_claims_come_last_and_without_those_that_are_none(setting, claims_of):
    def further(*, user, client, scope):
        return {"email": user.email, "nickname": None, "for": client.client_id, "asked": list(scope), "n": 0}

    with with_site(**{setting: further}):
        claims = claims_of(subject(), iat=IAT)

    assert list(claims.items())[-4:] == [
        ("email", "alice@example.com"),
        ("for", "portal"),
        ("asked", ["openid", "profile"]),
        ("n", 0),
    ]
    assert "nickname" not in claims


@pytest.mark.parametrize(("setting", "claims_of"), HOOKS)
def test_further_claims_of_one_token_are_not_in_the_other(setting, claims_of):
    with with_site(**{setting: lambda **of: {"extra": 1}}):
        with_claim = [name for name, other in HOOKS if "extra" in other(subject(), iat=IAT)]

    assert with_claim == [setting]


@pytest.mark.parametrize(("setting", "claims_of"), HOOKS)
def test_further_claims_of_a_machine_are_asked_for_without_a_user(setting, claims_of):
    with with_site(**{setting: lambda *, user, client, scope: {"has_user": user is not None}}):
        assert claims_of(machine(), iat=IAT)["has_user"] is False


@pytest.mark.parametrize(("setting", "claims_of"), HOOKS)
@pytest.mark.parametrize("claim", sorted(RESERVED_CLAIMS))
def test_a_reserved_claim_is_not_the_sites_to_give(setting, claims_of, claim):
    with (
        with_site(**{setting: lambda **of: {"email": "x", claim: None}}),
        pytest.raises(ImproperlyConfigured) as caught,
    ):
        claims_of(subject(), iat=IAT)

    assert str(caught.value) == f"CIAM_TOKEN[{setting!r}] must not return the claims {claim}."


@pytest.mark.parametrize(("setting", "claims_of"), HOOKS)
@pytest.mark.parametrize("returned", [None, [], "email", [("email", "x")]])
def test_further_claims_are_a_dict(setting, claims_of, returned):
    with with_site(**{setting: lambda **of: returned}), pytest.raises(ImproperlyConfigured) as caught:
        claims_of(subject(), iat=IAT)

    assert str(caught.value) == f"CIAM_TOKEN[{setting!r}] must return a dict of claims."


def test_every_claim_of_ours_is_reserved():
    with with_site(ACCESS_TOKEN_PROFILE="rfc9068"):
        ours = {*access_token_claims(subject(), iat=IAT), *id_token_claims(subject(), iat=IAT)}

    assert ours <= RESERVED_CLAIMS
    assert {"nonce", "at_hash", "c_hash", "cnf"} <= RESERVED_CLAIMS


def test_all_reserved_claims_of_a_hook_are_named_in_order():
    with (
        with_site(ID_TOKEN_CLAIMS=lambda **of: {"sub": 1, "aud": 2, "email": 3}),
        pytest.raises(ImproperlyConfigured, match="must not return the claims aud, sub"),
    ):
        id_token_claims(subject(), iat=IAT)


def verified(token, audience):
    keys = jwt.PyJWKSet.from_dict(key_set.current().jwk_set(django_timezone.now()))
    kid = jwt.get_unverified_header(token)["kid"]
    return jwt.decode(token, keys[kid], algorithms=["RS256"], audience=audience)


@pytest.mark.django_db
@pytest.mark.parametrize(("profile", "typ"), [("ciam", "JWT"), ("rfc9068", "at+jwt")])
def test_both_tokens_are_signed_with_the_active_key(profile, typ):
    now = django_timezone.now()
    iat = int(now.timestamp())

    with with_site(ACCESS_TOKEN_PROFILE=profile):
        signed = sign_tokens(subject(), now=now)
        expected = access_token_claims(subject(), iat=iat)

    kid = SigningKey.objects.get().kid
    assert jwt.get_unverified_header(signed.access_token) == {"kid": kid, "typ": typ, "alg": "RS256"}
    assert jwt.get_unverified_header(signed.id_token) == {"kid": kid, "typ": "JWT", "alg": "RS256"}
    assert take_jti(verified(signed.access_token, "portal")) == take_jti(expected)
    assert take_jti(verified(signed.id_token, "portal")) == take_jti(id_token_claims(subject(), iat=iat))
    assert signed.scope == ("openid", "profile")
    assert (signed.issued_at, signed.expires_at) == (now, iat + 300)


@pytest.mark.django_db
def test_instants_are_whole_seconds_rounded_down():
    now = django_timezone.now().replace(microsecond=999_999)

    signed = sign_tokens(subject(), now=now)

    claims = jwt.decode(signed.access_token, options={"verify_signature": False})
    assert claims["iat"] == claims["nbf"] == int(now.timestamp())
    assert signed.expires_at == claims["exp"] == int(now.timestamp()) + 300


@pytest.mark.django_db
@pytest.mark.parametrize("scope", [(), ("profile",), ("profile", "email"), ("OPENID",)])
def test_without_openid_there_is_no_id_token_and_its_claims_are_not_asked_for(scope):
    def never(**of):
        raise AssertionError("asked for")

    with with_site(ID_TOKEN_CLAIMS=never):
        signed = sign_tokens(subject(scope=scope), now=django_timezone.now())

    assert signed.id_token is None
    claims = jwt.decode(signed.access_token, options={"verify_signature": False})
    assert claims["scope"] == list(scope)


@pytest.mark.django_db
def test_a_further_claim_may_be_what_django_writes_as_json():
    with with_site(ACCESS_TOKEN_CLAIMS=lambda **of: {"tier": gettext_lazy("Home"), "id": SESSION_ID}):
        signed = sign_tokens(subject(), now=django_timezone.now())

    claims = verified(signed.access_token, "portal")
    assert (claims["tier"], claims["id"]) == ("Home", str(SESSION_ID))


@pytest.mark.django_db
def test_without_a_key_nothing_is_signed():
    SigningKey.objects.all().delete()

    with pytest.raises(ServerError):
        sign_tokens(subject(), now=django_timezone.now())


def at(seconds):
    return datetime.fromtimestamp(IAT + seconds, tz=timezone.utc)


SIGNED = SignedTokens(
    access_token="ACCESS",
    id_token="ID",
    scope=("openid", "profile"),
    issued_at=at(0.25),
    expires_at=IAT + 300,
)


def test_an_answer_has_the_members_of_the_reference_in_their_order():
    answer = IssuedTokens(signed=SIGNED, refresh_token="REFRESH").members(at(0.5))

    assert list(answer.items()) == [
        ("access_token", "ACCESS"),
        ("refresh_token", "REFRESH"),
        ("scope", "openid profile"),
        ("id_token", "ID"),
        ("token_type", "Bearer"),
        ("expires_in", 299),
    ]


def test_an_answer_has_no_members_that_are_null():
    signed = replace(SIGNED, id_token=None, scope=("profile",))

    assert list(IssuedTokens(signed=signed, refresh_token=None).members(at(0.5)).items()) == [
        ("access_token", "ACCESS"),
        ("scope", "profile"),
        ("token_type", "Bearer"),
        ("expires_in", 299),
    ]


@pytest.mark.parametrize(
    ("issued_at", "answered_at", "expires_in"),
    [
        (0, 0, 300),
        (0, 0.999, 300),
        (0, 1, 299),
        (0.001, 0.5, 299),
        (0.999, 1.998, 299),
        (0.999, 1.999, 298),
        (0, 299, 1),
        (0, 300, 0),
        (0, 9999, 0),
    ],
)
def test_expires_in_is_rounded_down_and_never_negative(issued_at, answered_at, expires_in):
    signed = replace(SIGNED, issued_at=at(issued_at))

    answer = IssuedTokens(signed=signed, refresh_token=None).members(at(answered_at))

    assert answer["expires_in"] == expires_in
    assert type(answer["expires_in"]) is int


def test_no_repr_shows_a_token():
    issued = IssuedTokens(signed=SIGNED, refresh_token="REFRESH")

    assert repr(issued) == (
        f"IssuedTokens(signed=SignedTokens(scope=('openid', 'profile'), issued_at={at(0.25)!r}, "
        f"expires_at={IAT + 300}))"
    )


def test_no_repr_has_the_nonce():
    assert "n-0S6_WzA2Mj" not in repr(subject(nonce="n-0S6_WzA2Mj"))
