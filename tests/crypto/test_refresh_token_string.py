from __future__ import annotations

import base64
import hashlib
import hmac
import uuid

import pytest

from django_ciam_token.crypto import refresh_token_string
from django_ciam_token.crypto.refresh_token_string import GenuineToken, NotGenuine, TokenKey

KEY = TokenKey(mac_key=bytes(range(32)), derivation_key=bytes(range(32, 64)))
OTHER_KEY = TokenKey(mac_key=bytes(range(64, 96)), derivation_key=bytes(range(96, 128)))
TOKEN = GenuineToken(
    session_id=uuid.UUID("0190163d-8694-739b-aea5-966c26f8ad91"), generation=7, secret=bytes(range(128, 160))
)
NONCE = bytes(range(16))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

# Clients hold such tokens: a change of any of these three signs out every session.
TOKEN_TEXT = (
    "ciam_rt1_AZAWPYaUc5uupZZsJvitkQAAAAeAgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en8z8layDwvJUfuayCgnd2gA"
)
SUCCESSOR_TEXT = (
    "ciam_rt1_AZAWPYaUc5uupZZsJvitkQAAAAjTch9QLOQGNseWqiM3vOiBaUoSi5dRGigqa_KYjOzmwe4LSjCUTPfxzOBrJQ6zwOc"
)
SUCCESSOR_SECRET = "d3721f502ce40636c796aa2337bce881694a128b97511a282a6bf2988cece6c1"


def test_the_format_of_issued_tokens_never_changes():
    assert refresh_token_string.encode(TOKEN, KEY) == TOKEN_TEXT
    assert refresh_token_string.authenticate(TOKEN_TEXT, [KEY]) == TOKEN


def test_the_derivation_of_successors_never_changes():
    successor = refresh_token_string.successor(TOKEN, nonce=NONCE, key=KEY)

    assert successor == GenuineToken(
        session_id=TOKEN.session_id, generation=8, secret=bytes.fromhex(SUCCESSOR_SECRET)
    )
    assert refresh_token_string.encode(successor, KEY) == SUCCESSOR_TEXT


def test_a_token_is_a_prefix_and_base64url_of_family_generation_secret_and_mac():
    text = refresh_token_string.encode(TOKEN, KEY)

    assert text.startswith("ciam_rt1_")
    assert len(text) == 100
    assert set(text) <= set(ALPHABET)
    raw = base64.urlsafe_b64decode(text.removeprefix("ciam_rt1_") + "=")
    assert raw[:16] == TOKEN.session_id.bytes
    assert raw[16:20] == b"\x00\x00\x00\x07"
    assert raw[20:52] == TOKEN.secret
    assert raw[52:] == hmac.digest(KEY.mac_key, b"ciam_rt1_" + raw[:52], "sha256")[:16]


@pytest.mark.parametrize("generation", [0, 1, 2**31 - 1, 2**32 - 1])
def test_an_encoded_token_is_decoded_again(generation):
    token = GenuineToken(
        session_id=uuid.uuid4(), generation=generation, secret=refresh_token_string.new_secret()
    )

    assert refresh_token_string.authenticate(refresh_token_string.encode(token, KEY), [KEY]) == token


@pytest.mark.parametrize("position", range(len(TOKEN_TEXT)))
def test_a_token_with_one_changed_character_is_not_genuine(position):
    # Every other character in each place, including those that differ only in the two spare bits of
    # the last one.
    for character in set(ALPHABET) - {TOKEN_TEXT[position]}:
        changed = TOKEN_TEXT[:position] + character + TOKEN_TEXT[position + 1 :]

        with pytest.raises(NotGenuine):
            refresh_token_string.authenticate(changed, [KEY])


def test_a_token_with_other_spare_bits_is_refused_although_it_decodes_to_the_same_bytes():
    last = ALPHABET.index(TOKEN_TEXT[-1])
    others = [TOKEN_TEXT[:-1] + ALPHABET[last ^ bits] for bits in (1, 2, 3)]

    for other in others:
        assert base64.urlsafe_b64decode(other[9:] + "=") == base64.urlsafe_b64decode(TOKEN_TEXT[9:] + "=")
        with pytest.raises(NotGenuine, match="canonical"):
            refresh_token_string.authenticate(other, [KEY])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "ciam_rt1_",
        TOKEN_TEXT[:-1],
        TOKEN_TEXT[1:],
        TOKEN_TEXT + "A",
        TOKEN_TEXT + "=",
        TOKEN_TEXT[:-1] + "=",
        TOKEN_TEXT[:-2] + "==",
        TOKEN_TEXT + "\n",
        TOKEN_TEXT[:-1] + "\n",
        " " + TOKEN_TEXT,
        TOKEN_TEXT[:50] + " " + TOKEN_TEXT[51:],
        TOKEN_TEXT[:50] + "+" + TOKEN_TEXT[51:],
        TOKEN_TEXT[:50] + "/" + TOKEN_TEXT[51:],
        TOKEN_TEXT[:50] + "é" + TOKEN_TEXT[51:],
        TOKEN_TEXT[:50] + "\x00" + TOKEN_TEXT[51:],
        TOKEN_TEXT[:50] + "\udcff" + TOKEN_TEXT[51:],
        TOKEN_TEXT.replace("ciam_rt1_", "ciam_rt2_"),
        TOKEN_TEXT.replace("ciam_rt1_", "CIAM_RT1_"),
        TOKEN_TEXT.replace("ciam_rt1_", "maic_rt1_"),
        TOKEN_TEXT.removeprefix("ciam_rt1_"),
        TOKEN_TEXT + TOKEN_TEXT,
    ],
)
def test_a_string_that_this_service_never_makes_is_not_genuine(text):
    with pytest.raises(NotGenuine):
        refresh_token_string.authenticate(text, [KEY])


def test_plus_and_slash_are_refused_even_if_they_decode_to_the_same_bytes():
    token = GenuineToken(session_id=TOKEN.session_id, generation=0, secret=b"\xfb\xff\xbf" * 10 + b"\xff\xff")
    text = refresh_token_string.encode(token, KEY)
    standard = text[:9] + text[9:].replace("-", "+").replace("_", "/")

    assert standard != text
    assert refresh_token_string.authenticate(text, [KEY]) == token
    with pytest.raises(NotGenuine):
        refresh_token_string.authenticate(standard, [KEY])


def test_a_token_of_any_listed_key_is_accepted():
    text = refresh_token_string.encode(TOKEN, OTHER_KEY)

    assert refresh_token_string.authenticate(text, [KEY, OTHER_KEY]) == TOKEN


@pytest.mark.parametrize("keys", [[], [OTHER_KEY]])
def test_a_token_of_a_key_that_is_not_listed_is_refused(keys):
    with pytest.raises(NotGenuine, match="MAC"):
        refresh_token_string.authenticate(TOKEN_TEXT, keys)


def test_the_derivation_key_signs_nothing():
    swapped = TokenKey(mac_key=KEY.derivation_key, derivation_key=KEY.mac_key)

    with pytest.raises(NotGenuine):
        refresh_token_string.authenticate(TOKEN_TEXT, [swapped])


def test_the_same_rotation_gives_the_same_successor():
    first = refresh_token_string.successor(TOKEN, nonce=NONCE, key=KEY)
    again = refresh_token_string.successor(TOKEN, nonce=bytes(NONCE), key=KEY)

    assert first == again
    assert (first.session_id, first.generation) == (TOKEN.session_id, TOKEN.generation + 1)
    assert len(first.secret) == refresh_token_string.SECRET_BYTES
    assert first.secret != TOKEN.secret


@pytest.mark.parametrize(
    ("token", "nonce", "key"),
    [
        (TOKEN, bytes(16), KEY),
        (GenuineToken(session_id=TOKEN.session_id, generation=8, secret=TOKEN.secret), NONCE, KEY),
        (GenuineToken(session_id=TOKEN.session_id, generation=7, secret=bytes(32)), NONCE, KEY),
        (GenuineToken(session_id=uuid.UUID(int=1), generation=7, secret=TOKEN.secret), NONCE, KEY),
        (TOKEN, NONCE, OTHER_KEY),
        (TOKEN, NONCE, TokenKey(mac_key=KEY.mac_key, derivation_key=OTHER_KEY.derivation_key)),
    ],
    ids=["nonce", "generation", "secret", "session_id", "key", "derivation_key"],
)
def test_the_successor_depends_on(token, nonce, key):
    successor = refresh_token_string.successor(token, nonce=nonce, key=key)

    assert successor.secret.hex() != SUCCESSOR_SECRET


def test_the_successor_does_not_depend_on_the_mac_key():
    other = TokenKey(mac_key=OTHER_KEY.mac_key, derivation_key=KEY.derivation_key)

    assert refresh_token_string.successor(TOKEN, nonce=NONCE, key=other).secret.hex() == SUCCESSOR_SECRET


def test_secrets_and_nonces_differ_each_time():
    assert len(refresh_token_string.new_secret()) == 32
    assert len(refresh_token_string.new_nonce()) == 16
    assert len({refresh_token_string.new_secret() for _ in range(100)}) == 100
    assert len({refresh_token_string.new_nonce() for _ in range(100)}) == 100


def test_the_database_stores_the_sha_256_of_a_secret():
    secret = refresh_token_string.new_secret()
    kept = refresh_token_string.digest(secret)

    assert kept == hashlib.sha256(secret).digest()
    assert refresh_token_string.matches(secret, kept)
    assert not refresh_token_string.matches(secret[:-1] + bytes([secret[-1] ^ 1]), kept)
    assert not refresh_token_string.matches(kept, kept)
    assert not refresh_token_string.matches(secret, b"")


def test_no_repr_shows_a_secret():
    assert repr(TOKEN) == f"GenuineToken(session_id={TOKEN.session_id!r}, generation=7)"
    assert repr(KEY) == "TokenKey()"


def test_an_error_does_not_quote_the_token():
    for text in (TOKEN_TEXT, TOKEN_TEXT[:-1], TOKEN_TEXT[:-1] + "+"):
        with pytest.raises(NotGenuine) as caught:
            refresh_token_string.authenticate(text, [OTHER_KEY])

        assert TOKEN_TEXT[9:30] not in repr(caught.value)
        assert caught.value.__cause__ is None
