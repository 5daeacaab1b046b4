from __future__ import annotations

import time
import uuid

import pytest
from django.test import override_settings

from django_ciam_token.crypto import refresh_token_string, site_keys
from django_ciam_token.crypto.refresh_token_string import GenuineToken, NotGenuine
from django_ciam_token.crypto.site_keys import Undecryptable

OLD = "the-secret-of-last-year-" + "o" * 30
NEW = "the-secret-of-this-year-" + "n" * 30
TOKEN = GenuineToken(session_id=uuid.uuid4(), generation=3, secret=bytes(range(32)))


def as_secret_key(*secrets):
    return override_settings(SECRET_KEY=secrets[0], SECRET_KEY_FALLBACKS=list(secrets[1:]))


def as_secrets(*secrets):
    return override_settings(CIAM_TOKEN={"ISSUER": "https://id.example.com", "SECRETS": list(secrets)})


def as_bytes(*secrets):
    return as_secrets(*(secret.encode() for secret in secrets))


every_way_to_list_secrets = pytest.mark.parametrize("with_secrets", [as_secret_key, as_secrets, as_bytes])


@every_way_to_list_secrets
def test_tokens_signed_with_a_fallback_secret_are_accepted_and_new_ones_use_the_first(with_secrets):
    with with_secrets(OLD):
        old_token = refresh_token_string.encode(TOKEN, site_keys.token_keys()[0])

    with with_secrets(NEW, OLD):
        keys = site_keys.token_keys()
        new_token = refresh_token_string.encode(TOKEN, keys[0])

        assert len(keys) == 2
        assert refresh_token_string.authenticate(old_token, keys) == TOKEN
    with with_secrets(NEW):
        assert refresh_token_string.authenticate(new_token, site_keys.token_keys()) == TOKEN
        with pytest.raises(NotGenuine):
            refresh_token_string.authenticate(old_token, site_keys.token_keys())


@every_way_to_list_secrets
def test_a_text_encrypted_with_a_fallback_secret_is_decrypted_until_that_is_removed(with_secrets):
    with with_secrets(OLD):
        ciphertext = site_keys.encrypt(b"private", purpose=site_keys.SIGNING_KEY)
        assert site_keys.is_encrypted_with_current_secret(ciphertext, purpose=site_keys.SIGNING_KEY)

    with with_secrets(NEW, OLD):
        assert site_keys.decrypt(ciphertext, purpose=site_keys.SIGNING_KEY) == b"private"
        assert not site_keys.is_encrypted_with_current_secret(ciphertext, purpose=site_keys.SIGNING_KEY)
        again = site_keys.encrypt(b"private", purpose=site_keys.SIGNING_KEY)
        assert site_keys.is_encrypted_with_current_secret(again, purpose=site_keys.SIGNING_KEY)
    with with_secrets(NEW):
        assert site_keys.decrypt(again, purpose=site_keys.SIGNING_KEY) == b"private"
        with pytest.raises(Undecryptable):
            site_keys.decrypt(ciphertext, purpose=site_keys.SIGNING_KEY)


def test_the_setting_secrets_replaces_secret_key():
    by_secret_key = site_keys.token_keys()

    with as_secrets(NEW):
        assert site_keys.token_keys() != by_secret_key
    with as_secret_key(NEW):
        by_new_secret_key = site_keys.token_keys()
    with as_secrets(NEW):
        assert site_keys.token_keys() == by_new_secret_key


@pytest.mark.parametrize(
    ("made_for", "asked_for"),
    [(site_keys.SIGNING_KEY, site_keys.SHOWN_ONCE), (site_keys.SHOWN_ONCE, site_keys.SIGNING_KEY)],
)
def test_a_text_encrypted_for_one_purpose_is_useless_for_another(made_for, asked_for):
    ciphertext = site_keys.encrypt(b"private", purpose=made_for)

    with pytest.raises(Undecryptable):
        site_keys.decrypt(ciphertext, purpose=asked_for)
    assert not site_keys.is_encrypted_with_current_secret(ciphertext, purpose=asked_for)


def test_the_keys_of_a_secret_differ_from_each_other_and_from_the_secret():
    with as_secrets(NEW):
        (key,) = site_keys.token_keys()

    assert len(key.mac_key) == len(key.derivation_key) == 32
    assert key.mac_key != key.derivation_key
    assert NEW.encode() not in key.mac_key + key.derivation_key


def test_the_keys_of_a_secret_never_change():
    # A change here would sign out every session of every site.
    with as_secrets(NEW):
        (key,) = site_keys.token_keys()

    assert key.mac_key.hex() == "af6a725e9d484b2369cf6c3c3ffdff538c9d12df77470b2cc423ecfc99918b8f"
    assert key.derivation_key.hex() == "d312fba251c107835dc99528ac6fb04411fe9eeb0c9688a9b6cc4843409bd245"


@every_way_to_list_secrets
def test_a_mac_is_made_with_the_first_secret_and_any_is_offered_for_comparison(with_secrets):
    with with_secrets(OLD):
        old_mac = site_keys.mac(b"message", purpose=site_keys.PASSWORD_HASH)

    with with_secrets(NEW, OLD):
        new_mac = site_keys.mac(b"message", purpose=site_keys.PASSWORD_HASH)

        assert list(site_keys.macs(b"message", purpose=site_keys.PASSWORD_HASH)) == [new_mac, old_mac]
        assert site_keys.mac(b"massage", purpose=site_keys.PASSWORD_HASH) != new_mac
        assert site_keys.mac(b"message", purpose=site_keys.SIGNING_KEY) != new_mac


def test_the_same_plaintext_is_never_encrypted_the_same_way_twice():
    first, second = (site_keys.encrypt(b"private", purpose=site_keys.SHOWN_ONCE) for _ in range(2))

    assert first != second
    assert "private" not in first


def test_a_text_that_is_too_old_is_not_decrypted(monkeypatch):
    ciphertext = site_keys.encrypt(b"private", purpose=site_keys.SHOWN_ONCE)
    now = time.time()

    monkeypatch.setattr(time, "time", lambda: now + 299)
    assert site_keys.decrypt(ciphertext, purpose=site_keys.SHOWN_ONCE, max_age=300) == b"private"

    monkeypatch.setattr(time, "time", lambda: now + 302)
    with pytest.raises(Undecryptable):
        site_keys.decrypt(ciphertext, purpose=site_keys.SHOWN_ONCE, max_age=300)
    assert site_keys.decrypt(ciphertext, purpose=site_keys.SHOWN_ONCE) == b"private"


@pytest.mark.parametrize("spoil", [lambda text: text[:-4] + "AAA=", lambda text: text[:30], lambda text: ""])
def test_an_altered_text_is_not_decrypted(spoil):
    ciphertext = site_keys.encrypt(b"private", purpose=site_keys.SIGNING_KEY)

    with pytest.raises(Undecryptable):
        site_keys.decrypt(spoil(ciphertext), purpose=site_keys.SIGNING_KEY)
    assert not site_keys.is_encrypted_with_current_secret(spoil(ciphertext), purpose=site_keys.SIGNING_KEY)
