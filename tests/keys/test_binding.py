"""Somebody who can write to the database, but lacks the site's secrets."""

from __future__ import annotations

import jwt
import pytest
from django.test import Client as Browser
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.checks import check_signing_keys
from django_ciam_token.concealed import Concealed
from django_ciam_token.crypto import jose, site_keys
from django_ciam_token.errors import InvalidToken, ServerError
from django_ciam_token.keys import binding, key_set, signing_keys
from django_ciam_token.keys.binding import Trust
from django_ciam_token.models import SigningKey
from django_ciam_token.tokens import access_tokens
from tests.keys.conftest import logged, published, rotate, signs

pytestmark = pytest.mark.django_db

FOREIGN = {"undecryptable": "gAAAAA", "empty": "", "no ascii": "ü"}


@pytest.fixture
def access_token(web_client, user):
    return issue_tokens(client=web_client, user=user)["access_token"]


def warnings():
    return [(message.id[-4:], message.msg) for message in check_signing_keys(None, databases=["default"])]


def is_accepted(token):
    key_set.forget()
    try:
        access_tokens.verify(Concealed(token), now=timezone.now())
    except InvalidToken:
        return False
    return True


def insert_own_key(access_token, *, ciphertext):
    """Insert a public key as the newest active one, and sign with its private half."""
    pem = jose.generate_private_key("EdDSA")
    private_key = jose.parse_private_key(pem)
    jwk = jose.public_jwk(private_key, "EdDSA")
    key = SigningKey.objects.create(
        kid=jwk["kid"],
        algorithm="EdDSA",
        public_jwk=jwk,
        encrypted_private_key=ciphertext,
        created_at=timezone.now(),
        active_at=timezone.now(),
    )
    claims = jwt.decode(access_token, options={"verify_signature": False})
    return key, jwt.encode(claims, private_key, algorithm="EdDSA", headers={"kid": jwk["kid"]})


@pytest.mark.parametrize("ciphertext", FOREIGN.values(), ids=FOREIGN)
def test_an_inserted_key_that_no_secret_decrypts_is_neither_published_nor_accepted(
    first_key, access_token, ciphertext, caplog
):
    key, forged = insert_own_key(access_token, ciphertext=ciphertext)

    assert not is_accepted(forged)
    assert is_accepted(access_token)
    answer = Browser().get("/oauth2/jwks").json()
    assert [jwk["kid"] for jwk in answer["keys"]] == [first_key.kid]
    assert signs(timezone.now()) == first_key.kid
    assert key_set.current().algorithms(timezone.now()) == ["RS256"]
    [(number, message)] = warnings()
    assert number == "W009"
    assert message == (
        f"The signing key {key.kid} can't be decrypted with any of the site's secrets, though the active one "
        "can. It is neither published nor accepted."
    )
    assert {record.reason for record in logged(caplog, "signing_key_not_trusted")} == {"undecryptable"}


def test_an_inserted_key_with_the_ciphertext_of_another_is_not_accepted(first_key, access_token, caplog):
    key, forged = insert_own_key(access_token, ciphertext=first_key.encrypted_private_key)

    assert not is_accepted(forged)
    assert published(timezone.now()) == [first_key.kid]
    assert signs(timezone.now()) == first_key.kid
    [(number, message)] = warnings()
    assert number == "W009"
    assert message == (
        f"The signing key {key.kid} does not match its row: kid, algorithm or public key are not those it "
        "was encrypted with. It is neither published nor accepted."
    )
    assert {record.kid for record in logged(caplog, "signing_key_not_trusted")} == {key.kid}


def test_a_key_that_is_not_trusted_is_logged_once_by_each_process(first_key, monkeypatch, caplog):
    other = rotate()
    SigningKey.objects.filter(pk=other.pk).update(encrypted_private_key=first_key.encrypted_private_key)

    keys = key_set._read("default", previous=None)
    again = key_set._read("default", previous=keys)

    assert again.reported == {other.kid}
    assert len(logged(caplog, "signing_key_not_trusted")) == 1


def test_keys_whose_ciphertexts_were_exchanged_sign_nothing(first_key):
    other = rotate(immediately=True)
    for key, ciphertext in ((first_key, other), (other, first_key)):
        SigningKey.objects.filter(pk=key.pk).update(encrypted_private_key=ciphertext.encrypted_private_key)
    key_set.forget()

    assert published(timezone.now()) == []
    with pytest.raises(ServerError):
        signs(timezone.now())
    assert [number for number, _ in warnings()] == ["W004", "W009", "W009"]


@pytest.mark.parametrize(
    "changes",
    [
        {"kid": "another"},
        {"algorithm": "PS256"},
        {"public_jwk": None},
        {"public_jwk": []},
        {"public_jwk": {"kid": "another"}},
    ],
)
def test_a_row_of_which_a_column_was_changed_is_not_trusted(first_key, changes):
    for name, value in changes.items():
        setattr(first_key, name, value)

    assert binding.trust(first_key) is Trust.MISMATCHED


@pytest.mark.parametrize("changes", [{"alg": "PS256"}, {"n": "AQAB"}, {"kid": "another"}])
def test_a_member_of_the_public_key_that_was_changed_is_noticed(first_key, changes):
    first_key.public_jwk = {**first_key.public_jwk, **changes}

    assert binding.trust(first_key) is Trust.MISMATCHED


def test_the_private_key_comes_back_as_it_was_sealed(first_key):
    pem = jose.generate_private_key("ES256")
    jwk = jose.public_jwk(jose.parse_private_key(pem), "ES256")
    key = SigningKey(
        kid=jwk["kid"], algorithm="ES256", public_jwk=jwk, encrypted_private_key=binding.seal(pem, jwk)
    )

    assert binding.unseal(key) == pem
    assert binding.trust(key) is Trust.TRUSTED


def test_a_private_key_that_is_encrypted_alone_is_not_trusted_and_migrate_makes_another(first_key):
    pem = binding.unseal(first_key)
    SigningKey.objects.update(encrypted_private_key=site_keys.encrypt(pem, purpose=site_keys.SIGNING_KEY))

    made = signing_keys.ensure_first_key(using="default")

    assert made is not None
    assert (signs(timezone.now()), published(timezone.now())) == (made.kid, [made.kid])


def test_migrate_makes_no_key_when_it_has_the_wrong_secrets(first_key, settings):
    settings.SECRET_KEY = "w" * 50

    assert signing_keys.ensure_first_key(using="default") is None
