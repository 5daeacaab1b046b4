"""A process that was started with the wrong SECRET_KEY knows better than to call genuine tokens forged."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.test import Client as Browser
from django.test import override_settings
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.crypto import jose
from django_ciam_token.errors import WrongSecrets
from django_ciam_token.integrations.simplejwt import SimpleJWT
from django_ciam_token.keys import key_set
from django_ciam_token.keys.importing import import_signing_key
from django_ciam_token.keys.signing_keys import rotate
from django_ciam_token.models import RefreshToken, SigningKey
from tests import other_package
from tests.conftest import post_form
from tests.factories import ClientFactory
from tests.operators import browser_of
from tests.operators import url as url_of

pytestmark = pytest.mark.django_db

WRONG = override_settings(SECRET_KEY="w" * 50)


@pytest.fixture
def token(web_client, user):
    token = issue_tokens(client=web_client, user=user)["refresh_token"]
    key_set.forget()  # As a process that has just started.
    return token


def form(client, **parameters):
    return {"client_id": client.client_id, "client_secret": client.plain_secret, **parameters}


def assert_unavailable(response):
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert response.json()["error"] == "temporarily_unavailable"


def test_with_the_wrong_secret_a_refresh_is_unavailable_and_with_the_right_one_it_works(
    web_client, token, refresh, traces
):
    with WRONG:
        assert_unavailable(refresh(web_client, token))

    assert any("wrong SECRET_KEY" in line and "signing_key_undecryptable" in line for line in traces.logged)
    key_set.forget()
    assert refresh(web_client, token).status_code == 200


def test_with_the_wrong_secret_nothing_is_said_of_a_token_at_introspection_and_revocation(web_client, token):
    for url in ("/oauth2/introspect", "/oauth2/revoke"):
        with WRONG:
            assert_unavailable(post_form(form(web_client, token=token), url=url))

    assert RefreshToken.objects.get().revoked_at is None


def test_with_the_wrong_secret_the_published_documents_are_unavailable_instead_of_empty(token):
    """Verifiers keep the copy that they have, and fetch it again."""
    for url in ("/oauth2/jwks", "/.well-known/openid-configuration"):
        with WRONG:
            assert_unavailable(Browser(raise_request_exception=False).get(url))


def test_in_a_healthy_process_a_forged_token_stays_an_invalid_grant(
    web_client, token, refresh, django_assert_num_queries
):
    forged = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]
    refresh(web_client, forged)

    with django_assert_num_queries(1):  # That of the client; the keys are in the process's copy.
        response = refresh(web_client, forged)

    assert (response.status_code, response.content) == (400, b'{"error": "invalid_grant"}')
    assert post_form(form(web_client, token=forged), url="/oauth2/introspect").json() == {"active": False}
    assert post_form(form(web_client, token=forged), url="/oauth2/revoke").json() == {}


def test_what_is_no_token_at_all_is_refused_whatever_the_secrets(web_client, token, refresh):
    with WRONG:
        assert refresh(web_client, "garbage").status_code == 400


def test_without_any_key_a_forged_token_is_forged(web_client, token, refresh):
    SigningKey.objects.all().delete()
    forged = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]

    assert refresh(web_client, forged).status_code == 400


def test_a_key_that_has_long_been_retired_says_nothing_about_the_secrets(token):
    now = timezone.now()
    SigningKey.objects.update(retired_at=now - timedelta(days=1))
    with WRONG:
        keys = key_set.current()

        assert keys.undecryptable
        keys.require_right_secrets(now)


CALLBACK = "https://app.example.com/callback"


def test_with_the_wrong_secret_no_code_is_issued_that_other_processes_refuse(user, token):
    """The application is told to try again, and nobody is asked to sign in for nothing."""
    client = ClientFactory(redirect_uris=CALLBACK)
    browser = Browser()
    parameters = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": CALLBACK,
        "scope": "openid",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    with WRONG:
        browser.force_login(user)
        answer = browser.get("/oauth2/authorize", parameters)

    assert "error=temporarily_unavailable" in answer["Location"]
    assert not RefreshToken.objects.filter(client=client).exists()


def test_with_the_wrong_secret_no_foreign_token_becomes_a_session(
    web_client, user, token, refresh, other_tokens_accepted
):
    """It would keep another hash of the password than other processes expect, and end at its next refresh."""
    text, _ = other_package.live(web_client, user)
    with WRONG:
        assert_unavailable(refresh(web_client, text))
    key_set.forget()

    answer = refresh(web_client, text)

    assert refresh(web_client, answer.json()["refresh_token"]).status_code == 200


@pytest.mark.parametrize("how", [{}, {"lead": timedelta(days=30)}])
def test_with_the_wrong_secret_no_new_key_takes_the_place_of_the_one_that_other_processes_know(
    web_client, user, token, refresh, how
):
    with WRONG, pytest.raises(WrongSecrets):
        rotate(**how)

    assert SigningKey.objects.get().retired_at is None


def test_if_the_secret_is_lost_for_good_a_new_key_signs_at_once(token):
    with WRONG:
        new = rotate(immediately=True)
        assert key_set.current().signing_pair(timezone.now()).kid == new.kid


@pytest.mark.parametrize("is_active", [True, False])
def test_with_the_wrong_secret_no_key_is_imported(token, is_active):
    pem = jose.generate_private_key("ES256")
    with WRONG, pytest.raises(WrongSecrets):
        import_signing_key(pem, is_active=is_active)

    assert SigningKey.objects.count() == 1


@pytest.mark.parametrize("command", ["rotate_signing_key", "import_signing_key -", "import_from simplejwt"])
def test_commands_say_that_the_secret_is_wrong(token, web_client, command, monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO(jose.generate_private_key("ES256").decode()))
    monkeypatch.setattr(SimpleJWT, "problem", lambda self: "")
    name, *arguments = command.split()
    if name == "import_from":
        arguments += ["--client", web_client.client_id]
    with WRONG, pytest.raises(CommandError, match="wrong SECRET_KEY"):
        call_command(name, *arguments)


def test_the_admin_says_that_the_key_is_not_usable(token):
    with WRONG:
        operator = browser_of("view_signingkey", "rotate_signingkey")
        answer = operator.post(
            url_of("signingkey_rotate"), {"confirmed": "yes", "algorithm": "ES256"}, follow=True
        )

    assert "not usable with the site&#x27;s secrets" in answer.content.decode()
    assert SigningKey.objects.get().retired_at is None


def test_with_the_wrong_secret_no_hash_is_upgraded_and_no_device_signed_out(web_client, user, token, refresh):
    upgraded = override_settings(
        PASSWORD_HASHERS=[
            "django.contrib.auth.hashers.PBKDF2PasswordHasher",
            "django.contrib.auth.hashers.MD5PasswordHasher",
        ]
    )
    with WRONG, upgraded:
        assert authenticate(username=user.username, password="correct horse") is not None
    key_set.forget()

    assert refresh(web_client, token).status_code == 200
