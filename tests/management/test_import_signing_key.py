from __future__ import annotations

import io
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from django.core.management import CommandError
from django.test import Client as Browser
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.api import issue_tokens
from django_ciam_token.crypto import jose
from django_ciam_token.keys.importing import import_signing_key
from django_ciam_token.models import SigningKey, SigningKeyState

pytestmark = pytest.mark.django_db

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem_of(key, *, form=PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        return str(path)

    return write


def jwk_set():
    return {key["kid"]: key for key in Browser().get("/oauth2/jwks").json()["keys"]}


def test_a_key_that_is_brought_over_does_not_sign_unless_said_otherwise():
    key, is_new = import_signing_key(pem_of(RSA))

    assert is_new
    assert key.state(timezone.now()) is SigningKeyState.RETIRED


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_what_the_other_system_signed_verifies_with_our_jwk_set(run_json, write, form):
    before = SigningKey.objects.get()
    theirs = jwt.encode({"sub": "x"}, pem_of(RSA), algorithm="RS256", headers={"kid": "2024-05"})

    answer = run_json("import_signing_key", write(pem_of(RSA, form=form)), "--kid", "2024-05")

    assert (answer["kid"], answer["alg"], answer["state"], answer["new"]) == (
        "2024-05", "RS256", "retired", True
    )  # fmt: skip
    kid = jwt.get_unverified_header(theirs)["kid"]
    assert jwt.decode(theirs, jwt.PyJWK(jwk_set()[kid]), algorithms=["RS256"]) == {"sub": "x"}
    assert set(jwk_set()) == {before.kid, "2024-05"}
    left = SigningKey.objects.get(kid="2024-05").removed_at - timezone.now()
    assert timedelta(days=29) < left <= timedelta(days=30)
    before.refresh_from_db()
    assert before.retired_at is None


@pytest.mark.django_db(transaction=True)
def test_verifiers_that_know_only_the_old_key_keep_working(run, write, web_client, user, traces):
    thumbprint = jose.public_jwk(RSA, "RS256")["kid"]

    text = run("import_signing_key", write(pem_of(RSA)), "--active")

    assert text == f"Imported key {thumbprint} (RS256): active.\n"
    token = issue_tokens(client=web_client, user=user)["access_token"]
    assert jwt.get_unverified_header(token)["kid"] == thumbprint
    pinned = RSA.public_key()
    assert jwt.decode(token, pinned, algorithms=["RS256"], audience=web_client.client_id)["sub"]
    assert SigningKey.objects.earliest("pk").retired_at <= timezone.now()
    assert traces.of(signals.signing_key_rotated)[0]["kid"] == thumbprint
    assert not any(pem_of(RSA).decode().splitlines()[1] in line for line in traces.logged)


def test_a_key_is_imported_once(run, run_json, write):
    path = write(pem_of(RSA))
    kid = run_json("import_signing_key", path)["kid"]

    assert run("import_signing_key", path).startswith(f"There was already the key {kid} (RS256): retired, ")
    assert run_json("import_signing_key", path)["new"] is False

    other = write(pem_of(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    with pytest.raises(CommandError, match="another key with the kid"):
        run("import_signing_key", other, "--kid", kid)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(ec.generate_private_key(ec.SECP256R1()), "ES256"), (ed25519.Ed25519PrivateKey.generate(), "EdDSA")],
)
def test_keys_of_other_kinds_from_standard_input(run_json, monkeypatch, key, algorithm):
    monkeypatch.setattr("sys.stdin", io.StringIO(pem_of(key).decode()))

    assert run_json("import_signing_key", "-", "--published-for", "7d")["alg"] == algorithm


def test_an_rsa_key_may_sign_by_ps256(run_json, write):
    assert run_json("import_signing_key", write(pem_of(RSA)), "--algorithm", "PS256")["alg"] == "PS256"


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"rubbish", (), "no private key in PEM"),
        (pem_of(RSA, encryption=BestAvailableEncryption(b"secret")), (), "is encrypted"),
        (pem_of(RSA), ("--algorithm", "ES256"), "is for RS256 or PS256, not for ES256"),
        (pem_of(RSA), ("--kid", "with space"), "a kid has 1 to 64"),
        (pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)), (), "has 1024 bits"),  # noqa: S505
        (pem_of(ec.generate_private_key(ec.SECP384R1())), (), "must be RSA, EC on P-256, or Ed25519"),
    ],
    ids=["rubbish", "encrypted", "another algorithm", "bad kid", "short", "another curve"],
)
def test_a_key_that_can_not_be_used_is_refused(run, write, content, arguments, message):
    with pytest.raises(CommandError, match=message):
        run("import_signing_key", write(content), *arguments)

    assert SigningKey.objects.count() == 1


def test_a_file_that_is_not_there(run):
    with pytest.raises(CommandError, match="can't be read: No such file"):
        run("import_signing_key", "no-such.pem")


@pytest.mark.django_db(transaction=True)
def test_a_commit_whose_outcome_is_unknown_makes_one_key(run_json, write, break_next_commit):
    break_next_commit()

    assert run_json("import_signing_key", write(pem_of(RSA)))["new"] is True

    assert SigningKey.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_refusing_database_is_reported(run, write, refusing):
    refusing("_fetch_all")

    with pytest.raises(CommandError, match="The database refused"):
        run("import_signing_key", write(pem_of(RSA)))
