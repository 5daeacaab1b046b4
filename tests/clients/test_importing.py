"""Clients of another package keep their ids, secrets, addresses and origins."""

from __future__ import annotations

import pytest
from django.contrib.auth.hashers import make_password

from django_ciam_token.clients.importing import (
    ForeignClient,
    application_type,
    import_client,
    missing_scopes,
)
from django_ciam_token.clients.secrets import import_plain_secret
from django_ciam_token.concealed import Concealed
from django_ciam_token.models import ApplicationType, Client, ClientSecret
from tests.conftest import post_form

pytestmark = pytest.mark.django_db

DRAWN = "0123456789abcdefghijklmnopqrstuvwxyz"


def foreign(**fields):
    defaults = {
        "client_id": "portal",
        "name": "Portal",
        "application_type": ApplicationType.WEB,
        "scope": ("openid",),
        "secret": Concealed(make_password(DRAWN)),
    }
    return ForeignClient(**{**defaults, **fields})


def authenticates(client_id, secret):
    form = {"client_id": client_id, "client_secret": secret, "token": "x"}
    return post_form(form, url="/oauth2/revoke").status_code == 200


@pytest.mark.parametrize(
    ("fields", "is_fast"),
    [
        ({}, False),
        ({"secret": Concealed(DRAWN), "is_secret_hashed": False}, True),
        ({"secret": Concealed("chosen"), "is_secret_hashed": False}, False),
        ({"secret": Concealed("x" * 40), "is_secret_hashed": False}, False),
    ],
    ids=["hashed", "in clear", "short", "monotonous"],
)
def test_a_client_keeps_its_secret(fields, is_fast):
    imported = import_client(foreign(**fields))

    assert (imported.is_new, imported.remarks) == (True, ())
    assert ClientSecret.objects.get().secret_digest.startswith("sha256$") == is_fast
    secret = DRAWN if not fields else fields["secret"].reveal()
    assert authenticates("portal", secret)
    assert not authenticates("portal", secret + "x")


def test_a_client_keeps_what_else_it_had():
    import_client(
        foreign(
            redirect_uris=("https://a.example.com/cb", "https://*.example.com/cb"),
            post_logout_redirect_uris=("https://a.example.com/bye",),
            allowed_origins=("https://a.example.com", "https://a.example.com/path"),
            asks_consent=True,
            requires_pkce=True,
        )
    )

    client = Client.objects.get()
    assert client.redirect_uris == "https://a.example.com/cb"
    assert client.post_logout_redirect_uris == "https://a.example.com/bye"
    assert client.allowed_origins == "https://a.example.com"
    assert client.asks_consent
    assert client.requires_pkce


def test_a_machine_keeps_the_grant_that_it_used():
    imported = import_client(
        foreign(application_type=ApplicationType.M2M, may_use_client_credentials=True, redirect_uris=())
    )

    assert imported.client.may_use_client_credentials


@pytest.mark.parametrize(("different", "is_fast"), [(10, True), (9, False)])
def test_a_secret_of_few_different_characters_may_be_a_chosen_one(web_client, different, is_fast):
    secret = DRAWN[:different].ljust(32, "0")

    stored = import_plain_secret(web_client, secret)

    assert stored.secret_digest.startswith("sha256$") == is_fast


def test_what_another_package_does_not_say_of_a_client_is_as_with_a_new_one():
    client = import_client(foreign()).client

    new = Client()
    names = ("asks_consent", "requires_pkce", "may_use_client_credentials", "refresh_tokens_enabled")
    assert {name: getattr(client, name) for name in names} == {name: getattr(new, name) for name in names}


@pytest.mark.parametrize(
    ("kind", "kept"), [(ApplicationType.MOBILE, "com.example.portal:/cb"), (ApplicationType.WEB, "")]
)
def test_a_redirect_uri_is_kept_by_the_types_that_may_have_it(kind, kept):
    client = import_client(foreign(application_type=kind, redirect_uris=("com.example.portal:/cb",))).client

    assert client.redirect_uris == kept


def test_what_could_not_be_kept_is_said():
    imported = import_client(
        foreign(redirect_uris=("https://*.example.com",), secret=Concealed("no hash"), name="")
    )
    without = import_client(foreign(client_id="other", secret=None))
    tried = import_client(foreign(client_id="third", secret=None), dry_run=True)

    assert imported.client.name == "portal"
    assert imported.remarks[0].startswith("redirect URI left out: https://*.example.com can't be registered")
    assert imported.remarks[1].startswith("its secret can't be kept: not a password hash")
    assert without.remarks == tried.remarks
    assert "rotate_client_secret" in without.remarks[0]
    assert not Client.objects.filter(client_id="third").exists()


def test_a_client_that_can_not_be_registered_is_left_out():
    imported = import_client(foreign(client_id="https://client.example.com/metadata", scope=("unknown",)))

    assert imported.client is None
    assert [remark.partition(":")[0] for remark in imported.remarks] == ["client_id", "scope"]
    assert not Client.objects.exists()


def test_a_client_that_is_here_already_stays_as_it_is():
    import_client(foreign())

    again = import_client(foreign(name="Other", secret=Concealed(make_password("other"))))

    assert (again.is_new, again.client.name) == (False, "Portal")
    assert authenticates("portal", DRAWN)


def test_public_clients_have_no_secret():
    imported = import_client(foreign(application_type=ApplicationType.SPA, secret=None))

    assert imported.remarks == ()
    assert not ClientSecret.objects.exists()


def test_no_endless_secret_is_hashed(web_client):
    with pytest.raises(ValueError, match="more than"):
        import_plain_secret(web_client, "x" * 2_000)


@pytest.mark.parametrize(
    ("is_confidential", "is_machine", "uris", "expected"),
    [
        (True, True, [], "m2m"),
        (True, False, ["https://a.example.com"], "web"),
        (False, False, ["https://a.example.com"], "spa"),
        (False, False, ["http://localhost:3000/cb"], "spa"),
        (False, False, ["com.example.app:/cb", "http://127.0.0.1/cb"], "mobile"),
        (False, False, ["http://[broken"], "mobile"),
        (False, False, [], "mobile"),
    ],
)
def test_the_type_of_an_application_follows_from_where_it_is(is_confidential, is_machine, uris, expected):
    found = application_type(is_confidential=is_confidential, is_machine=is_machine, redirect_uris=uris)

    assert found == expected


def test_scopes_that_the_site_does_not_have():
    assert missing_scopes(["openid", "read"]) == {"read"}
