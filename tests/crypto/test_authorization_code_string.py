from __future__ import annotations

import base64
import uuid

import pytest

from django_ciam_token.crypto import authorization_code_string as codes
from django_ciam_token.crypto import refresh_token_string
from django_ciam_token.crypto.authorization_code_string import Binding, CodeKey
from django_ciam_token.crypto.refresh_token_string import GenuineToken, NotGenuine, TokenKey, WrongMAC

KEY, OTHER_KEY = CodeKey(mac_key=bytes(range(32))), CodeKey(mac_key=bytes(range(1, 33)))
TOKEN = GenuineToken(
    session_id=uuid.UUID("0190163d-8694-739b-aea5-966c26f8ad91"), generation=0, secret=bytes(range(32))
)
BINDING = Binding(client_id="app", redirect_uri="https://app.example/cb", code_challenge="c" * 43)


def encode(*, token=TOKEN, binding=BINDING, nonce=None, key=KEY):
    return codes.encode(token, binding=binding, nonce=nonce, key=key)


def decoded(text):
    encoded = text.removeprefix(codes.PREFIX)
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def encoded(raw):
    return codes.PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("nonce", [None, "n", "n-0S6_WzA2Mj", 'ü"<>&', "x" * codes.LONGEST_NONCE])
def test_an_encoded_code_is_decoded_again(nonce):
    code = codes.authenticate(encode(nonce=nonce), [OTHER_KEY, KEY])

    assert (code.token, code.session_id, code.nonce) == (TOKEN, TOKEN.session_id, nonce)


def test_a_code_can_be_sent_as_it_is_in_a_query_string():
    assert encode(nonce="ä").removeprefix("ciam_ac1_").replace("-", "").replace("_", "").isalnum()
    assert len(encode()) == 9 + 150


def test_a_code_is_for_what_it_was_bound_to_and_nothing_else():
    code = codes.authenticate(encode(), [KEY])

    assert code.is_for_client("app")
    assert code.is_for_redirect_uri("https://app.example/cb")
    assert code.is_for_challenge("c" * 43)
    assert not code.is_for_client("other")
    assert not code.is_for_redirect_uri("https://app.example/cb/")
    for challenge in (None, "", "d" * 43, "https://app.example/cb"):
        assert not code.is_for_challenge(challenge)


def test_no_challenge_is_not_an_empty_one():
    code = codes.authenticate(encode(binding=Binding("app", "https://a.example/", None)), [KEY])

    assert code.is_for_challenge(None)
    assert not code.is_for_challenge("")


def test_a_tag_is_good_for_its_own_place_and_session_only():
    one, two = decoded(encode()), decoded(encode(token=GenuineToken(uuid.uuid4(), 0, TOKEN.secret)))
    tags = slice(48, 96)

    assert one[tags][:16] != one[tags][16:32] != one[tags][32:]
    assert not {one[tags][i : i + 16] for i in (0, 16, 32)} & {two[tags][i : i + 16] for i in (0, 16, 32)}


@pytest.mark.parametrize("place", [0, 15, 16, 47, 48, 64, 95, 96, 111, 112, 116])
def test_a_changed_bit_anywhere_is_noticed(place):
    raw = bytearray(decoded(encode(nonce="nonce")))
    raw[place] ^= 1

    with pytest.raises(WrongMAC):
        codes.authenticate(encoded(bytes(raw)), [KEY])


def test_neither_a_longer_nor_a_shorter_nonce_is_genuine():
    raw = decoded(encode(nonce="nonce"))
    for changed in (raw + b"x", raw[:-1], raw[:112]):
        with pytest.raises(WrongMAC):
            codes.authenticate(encoded(changed), [KEY])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "ciam_ac1_",
        "ciam_ac1_" + "A" * 147,
        encode()[:-2],
        encode()[1:],
        encode().replace("ciam_ac1_", "ciam_rt1_"),
        encode() + "=",
        encode() + "\n",
        encode()[:-1] + "!",
        encode()[:-1] + "ä",
        " " + encode(),
        "ciam_ac1_" + "A" * 60_000,
        encode(nonce="x" * (codes.LONGEST_NONCE + 1)),
    ],
)
def test_garbage_is_not_genuine(text):
    with pytest.raises(NotGenuine):
        codes.authenticate(text, [KEY])


def test_a_code_has_one_spelling():
    text = encode(nonce="ab")
    spellings = 0
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        try:
            codes.authenticate(text[:-1] + last, [KEY])
        except NotGenuine:
            continue
        spellings += 1

    assert spellings == 1


def test_a_code_of_another_site_is_not_genuine():
    with pytest.raises(WrongMAC):
        codes.authenticate(encode(key=OTHER_KEY), [KEY])


def test_neither_kind_of_string_can_be_used_as_the_other():
    key = TokenKey(mac_key=KEY.mac_key, derivation_key=b"")
    with pytest.raises(NotGenuine):
        refresh_token_string.authenticate(encode(), [key])
    with pytest.raises(NotGenuine):
        codes.authenticate(refresh_token_string.encode(TOKEN, key), [KEY])


def test_nothing_shows_the_secret_or_what_the_code_is_bound_to():
    code = codes.authenticate(encode(nonce="the-nonce"), [KEY])

    shown = f"{code!r} {BINDING!r} {KEY!r}"
    for hidden in ("the-nonce", repr(TOKEN.secret), "app.example", "ccc"):
        assert hidden not in shown


def test_the_challenge_is_that_of_the_rfc():
    """RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

    assert codes.challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
