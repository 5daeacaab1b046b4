from __future__ import annotations

import base64
import json
import math
import string
import uuid
from datetime import date, datetime, timezone
from decimal import Decimal

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.utils.translation import gettext_lazy

from django_ciam_token.conf import SIGNING_ALGORITHMS
from django_ciam_token.crypto import jose

MEMBERS = {
    "RS256": ["kty", "e", "kid", "n", "use", "alg"],
    "PS256": ["kty", "e", "kid", "n", "use", "alg"],
    "ES256": ["kty", "crv", "kid", "x", "y", "use", "alg"],
    "EdDSA": ["kty", "crv", "kid", "x", "use", "alg"],
}
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

# RFC 7638 §3.1.
RFC_MODULUS = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZC"
    "iFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZ"
    "gnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBni"
    "Iqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)
RFC_THUMBPRINT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.fixture(scope="module")
def pairs():
    """A key pair of each algorithm, with its public JWK."""
    made = {}
    for algorithm in SIGNING_ALGORITHMS:
        private_key = jose.parse_private_key(jose.generate_private_key(algorithm))
        jwk = jose.public_jwk(private_key, algorithm)
        pair = jose.SigningKeyPair(kid=jwk["kid"], algorithm=algorithm, private_key=private_key)
        made[algorithm] = pair, jwk
    return made


def part(token, position):
    text = token.split(".")[position]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
def test_a_signed_token_is_verified_with_the_public_jwk(pairs, algorithm):
    pair, jwk = pairs[algorithm]
    claims = {"sub": "42", "scope": ["openid"], "iat": 1636449231, "nested": {"ünïcode": "✓"}}

    token = jose.sign(claims, key=pair)

    key = jwt.PyJWK.from_dict(jwk)
    assert jwt.decode(token, key, algorithms=[algorithm], options={"verify_aud": False}) == claims


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
def test_an_altered_token_is_not_verified(pairs, algorithm):
    pair, jwk = pairs[algorithm]
    header, _, signature = jose.sign({"sub": "42"}, key=pair).split(".")
    forged = base64.urlsafe_b64encode(b'{"sub":"43"}').rstrip(b"=").decode()

    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(f"{header}.{forged}.{signature}", jwt.PyJWK.from_dict(jwk), algorithms=[algorithm])


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
@pytest.mark.parametrize("typ", ["JWT", "at+jwt"])
def test_the_header_is_kid_typ_alg_in_this_order(pairs, algorithm, typ):
    pair, jwk = pairs[algorithm]

    token = jose.sign({}, key=pair, typ=typ)

    assert part(token, 0) == f'{{"kid":"{jwk["kid"]}","typ":"{typ}","alg":"{algorithm}"}}'.encode()


def test_typ_is_jwt_by_default(pairs):
    token = jose.sign({}, key=pairs["EdDSA"][0])

    assert jwt.get_unverified_header(token)["typ"] == "JWT"


def test_claims_keep_their_order_and_have_no_spaces_between_them(pairs):
    token = jose.sign({"sub": "1", "aud": "2", "a": [1, 2]}, key=pairs["EdDSA"][0])

    assert part(token, 1) == b'{"sub":"1","aud":"2","a":[1,2]}'
    assert "=" not in token
    assert token.count(".") == 2


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
def test_a_public_jwk_has_these_members_in_this_order(pairs, algorithm):
    _, jwk = pairs[algorithm]

    assert list(jwk) == MEMBERS[algorithm]
    assert all(isinstance(value, str) for value in jwk.values())
    assert (jwk["use"], jwk["alg"]) == ("sig", algorithm)
    assert not PRIVATE_MEMBERS & set(jwk)


def test_in_order_leaves_out_private_members():
    jwk = {"alg": "RS256", "d": "private", "n": "n", "p": "private", "kid": "k", "e": "AQAB", "kty": "RSA"}

    assert list(jose.in_order(jwk).items()) == [
        ("kty", "RSA"),
        ("e", "AQAB"),
        ("kid", "k"),
        ("n", "n"),
        ("alg", "RS256"),
    ]


def test_the_kid_is_the_thumbprint_of_the_rfc():
    class PublicHalf:
        def public_key(self):
            modulus = int.from_bytes(base64.urlsafe_b64decode(RFC_MODULUS + "=="), "big")
            return rsa.RSAPublicNumbers(e=65537, n=modulus).public_key()

    assert jose.public_jwk(PublicHalf(), "RS256") == {
        "kty": "RSA",
        "e": "AQAB",
        "kid": RFC_THUMBPRINT,
        "n": RFC_MODULUS,
        "use": "sig",
        "alg": "RS256",
    }


def test_the_kid_of_an_ed25519_key_is_the_thumbprint_of_the_rfc():
    # RFC 8037, appendix A.1 and A.3.
    private = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")

    jwk = jose.public_jwk(ed25519.Ed25519PrivateKey.from_private_bytes(private), "EdDSA")

    assert jwk == {
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "use": "sig",
        "alg": "EdDSA",
    }


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("RS256", rsa.RSAPrivateKey),
        ("PS256", rsa.RSAPrivateKey),
        ("ES256", ec.EllipticCurvePrivateKey),
        ("EdDSA", ed25519.Ed25519PrivateKey),
    ],
)
def test_a_generated_key_is_of_the_kind_and_size_of_its_algorithm(pairs, algorithm, kind):
    private_key = pairs[algorithm][0].private_key

    assert isinstance(private_key, kind)
    if algorithm in ("RS256", "PS256"):
        assert private_key.key_size == 2048
        assert private_key.public_key().public_numbers().e == 65537
    if algorithm == "ES256":
        assert private_key.curve.name == "secp256r1"


def test_a_generated_key_is_pkcs_8_pem():
    pem = jose.generate_private_key("EdDSA")

    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert pem.endswith(b"-----END PRIVATE KEY-----\n")
    assert pem != jose.generate_private_key("EdDSA")


@pytest.mark.parametrize("algorithm", ["", "none", "HS256", "ES384", "rs256"])
def test_no_key_is_made_for_an_unsupported_algorithm(algorithm):
    with pytest.raises(ValueError, match=f"cannot make a key for {algorithm!r}"):
        jose.generate_private_key(algorithm)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc), "2026-01-02T03:04:05Z"),
        (date(2026, 1, 2), "2026-01-02"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Decimal("1.10"), "1.10"),
        (gettext_lazy("Home"), "Home"),
        (None, None),
        ("ü", "ü"),
        ((1, 2), [1, 2]),
    ],
)
def test_a_claim_may_have_any_type_that_django_writes_as_json(pairs, value, written):
    token = jose.sign({"claim": value}, key=pairs["EdDSA"][0])

    assert json.loads(part(token, 1)) == {"claim": written}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes"], ids=["object", "set", "bytes"])
def test_a_claim_that_json_can_not_hold_is_a_type_error(pairs, value):
    with pytest.raises(TypeError, match="not JSON serializable"):
        jose.sign({"claim": value}, key=pairs["EdDSA"][0])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_claim_that_is_not_a_number_is_a_value_error(pairs, value):
    # Python would write it as NaN or Infinity, which no other JSON parser reads.
    with pytest.raises(ValueError, match="not JSON compliant"):
        jose.sign({"claim": value}, key=pairs["EdDSA"][0])


def test_the_repr_of_a_pair_does_not_show_the_private_key(pairs):
    pair, jwk = pairs["EdDSA"]

    assert repr(pair) == f"SigningKeyPair(kid='{jwk['kid']}', algorithm='EdDSA')"


def test_a_token_with_a_time_that_is_not_a_whole_number_is_not_verified():
    pem = jose.generate_private_key("ES256")
    private_key = jose.parse_private_key(pem)
    jwk = jose.public_jwk(private_key, "ES256")
    pair = jose.SigningKeyPair(kid=jwk["kid"], algorithm="ES256", private_key=private_key)
    claims = {"iss": "me", "sub": "1", "aud": "you", "iat": 1, "exp": 2, "jti": "x"}

    key = jose.VerifyingKey(jwk)

    signed = jose.SignedText(jose.sign(claims, key=pair))
    assert signed.header == jose.Header(kid=jwk["kid"], alg="ES256", typ="JWT")
    assert jose.verify(signed, key=key, issuer="me") == claims

    for wrong in ({"exp": 2.5}, {"iat": "1"}, {"exp": None}):
        signed = jose.SignedText(jose.sign({**claims, **wrong}, key=pair))
        with pytest.raises(jose.NotVerified):
            jose.verify(signed, key=key, issuer="me")


@pytest.fixture
def signing(pairs):
    pair, jwk = pairs["ES256"]
    claims = {"iss": "me", "sub": "1", "aud": "you", "iat": 1, "exp": 2, "jti": "x"}

    def sign(**changes):
        return jose.sign({**claims, **changes}, key=pair)

    return sign, jose.VerifyingKey(jwk)


def verified(token, key):
    try:
        return jose.verify(jose.SignedText(token), key=key, issuer="me")
    except jose.NotVerified:
        return None


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
def test_a_key_verifies_what_it_signed_and_again_from_memory(pairs, algorithm, monkeypatch):
    pair, jwk = pairs[algorithm]
    key, other = (
        jose.VerifyingKey(jwk),
        jose.VerifyingKey(pairs["ES256" if algorithm != "ES256" else "EdDSA"][1]),
    )
    token = jose.sign({"iss": "me", "sub": "1", "aud": "you", "iat": 1, "exp": 2, "jti": "x"}, key=pair)

    assert verified(token, other) is None
    assert verified(token, key) == verified(token, key)
    assert verified(token, key)["jti"] == "x"
    monkeypatch.setattr(key, "_verify", lambda *arguments, **others: False)
    assert verified(token, key)["jti"] == "x"


def test_what_a_key_remembers_of_a_token_does_not_help_another(signing):
    sign, key = signing
    token = sign()
    header, payload, signature = token.split(".")
    assert verified(token, key)

    assert verified(f"{header}.{sign(sub='2').split('.')[1]}.{signature}", key) is None
    assert verified(f"{header}.{payload}.{sign(sub='2').split('.')[2]}", key) is None
    assert jose.verify(jose.SignedText(token), key=key, issuer="me")
    with pytest.raises(jose.NotVerified):
        jose.verify(jose.SignedText(token), key=key, issuer="somebody else")


def test_a_key_remembers_a_bounded_number_of_digests_and_no_token(signing, monkeypatch):
    sign, key = signing
    monkeypatch.setattr(jose, "REMEMBERED_SIGNATURES", 3)
    tokens = [sign(jti=str(number)) for number in range(10)]

    for token in tokens:
        assert verified(token, key)

    assert len(key._verified | key._verified_before) <= 6
    assert key.has_signed(b"x", b"y") is False
    assert {len(digest) for digest in key._verified | key._verified_before} == {32}
    monkeypatch.setattr(key, "_verify", lambda *arguments, **others: False)
    assert [bool(verified(token, key)) for token in tokens] == [False] * 6 + [True] * 4


def test_the_repr_of_a_token_does_not_show_it(signing):
    sign, _ = signing
    signed = jose.SignedText(sign())

    assert repr(signed) == f"<JWT signed with {signed.header.kid}>"


def encoded(value):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "ES256", "typ": "JWT"},
        {"kid": 1, "alg": "ES256"},
        {"kid": "x", "alg": None},
        {"kid": "x", "alg": "ES256", "typ": None},
        {"kid": "x", "alg": "ES256", "crit": ["exp"]},
        {"kid": "x", "alg": "ES256", "b64": False},
        {"kid": "x" * 1024, "alg": "ES256"},
        ["kid"],
        b"{",
        b"\xff",
        b"[" * 700,
    ],
)
def test_a_header_that_is_not_one_of_ours_is_refused(header):
    with pytest.raises(jose.NotVerified):
        jose.SignedText(f"{encoded(header)}.{encoded({})}.AAAA")


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c.d", "a.b.", ".b.c", "a.b.c=", "a.b.c\n", "a.b.é", "abcde.b.c"]
)
def test_a_text_of_another_form_is_refused(text):
    with pytest.raises(jose.NotVerified):
        jose.SignedText(text)


def test_only_one_text_is_a_token(signing):
    sign, key = signing
    token = sign()
    # The last of the 86 characters of the signature has four bits that mean nothing, and are zero.
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    last = letters[letters.index(token[-1]) + 1]

    assert verified(token, key)
    with pytest.raises(jose.NotVerified):
        jose.SignedText(token[:-1] + last)


@pytest.mark.parametrize("claims", [b"[]", b"{", b"\xff", b"[" * 100_000])
def test_signed_claims_that_are_no_object_are_not_verified(pairs, claims):
    pair, jwk = pairs["ES256"]
    signing_input = f"{encoded({'kid': jwk['kid'], 'alg': 'ES256'})}.{encoded(claims)}"
    signature = jwt.get_algorithm_by_name("ES256").sign(signing_input.encode(), pair.private_key)

    assert verified(f"{signing_input}.{encoded(signature)}", jose.VerifyingKey(jwk)) is None


@pytest.mark.parametrize("wrong", [{"sub": 1}, {"jti": 1}, {"iss": ["me"]}, {"iss": None}])
def test_claims_of_another_type_are_not_verified(signing, wrong):
    sign, key = signing

    assert verified(sign(**wrong), key) is None


@pytest.mark.parametrize("jwk", [{}, {"kty": "none", "alg": "RS256"}, {"kty": "RSA", "alg": "RS256"}])
def test_a_key_that_can_not_be_read_verifies_nothing(jwk):
    with pytest.raises(jose.NotVerified):
        jose.VerifyingKey(jwk)
