from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import override_settings

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import (
    ApplicationType,
    Client,
    ClientSecret,
    RefreshToken,
    RevocationReason,
    SigningKey,
    SigningKeyState,
)
from django_ciam_token.models.client import CaseSensitiveCharField, new_client_id
from tests.factories import ClientFactory

INSTANT = datetime(2026, 1, 1, tzinfo=timezone.utc)
LIFETIMES = [
    ("access_token_lifetime", "effective_access_token_lifetime", timedelta(minutes=5)),
    ("id_token_lifetime", "effective_id_token_lifetime", timedelta(minutes=30)),
    ("refresh_token_lifetime", "effective_refresh_token_lifetime", timedelta(days=1)),
    ("session_lifetime", "effective_session_lifetime", timedelta(days=30)),
    ("refresh_token_grace_period", "effective_grace_period", timedelta(seconds=30)),
]


def refused_field(**fields):
    """The validation errors of a client with these fields, by field."""
    client = Client(**{"name": "App", "application_type": "web", **fields})
    try:
        client.clean_fields()
    except ValidationError as error:
        return error.message_dict
    return {}


def test_a_new_client_may_be_granted_openid_and_is_active():
    client = Client(name="App", application_type="web")

    client.clean_fields()

    assert client.scopes == ("openid",)
    assert client.is_active is True
    assert client.refresh_tokens_enabled is True
    assert client.audience == client.allowed_origins == ""
    assert str(client) == "App"


def test_a_new_client_id_has_only_letters_and_digits():
    drawn = {new_client_id() for _ in range(50)}

    assert len(drawn) == 50
    assert all(len(client_id) == 32 and client_id.isalnum() for client_id in drawn)
    assert len(Client().client_id) == 32


@pytest.mark.parametrize("client_id", ["a", "customer-portal", "A.b_c~d-9", "9" * 100, str(uuid.UUID(int=7))])
def test_a_client_id_has_only_characters_that_form_encoding_does_not_change(client_id):
    assert refused_field(client_id=client_id) == {}


@pytest.mark.parametrize("client_id", ["a b", "a:b", "a%b", "a+b", "a/b", "ä", "a\n", "a@b", "a\x00"])
def test_a_client_id_with_other_characters_is_refused(client_id):
    errors = refused_field(client_id=client_id)

    assert list(errors) == ["client_id"]
    assert "Use only letters, digits and the characters . _ ~ -" in errors["client_id"]


def test_a_machine_can_not_be_mistaken_for_a_user():
    # RFC 9700 §4.15: its client_id is its sub, and the sub of a user is a number.
    with pytest.raises(ValidationError) as caught:
        Client(name="App", application_type="m2m", client_id="42").clean()

    text = (
        "The client_id of a machine must not consist of digits only: "
        "it could be mistaken for a user's primary key."
    )
    assert caught.value.message_dict == {"client_id": [text]}
    Client(name="App", application_type="m2m", client_id="42x").clean()
    Client(name="App", application_type="web", client_id="42").clean()


@pytest.mark.parametrize(("client_id", "name"), [("", "App"), ("x" * 101, "App"), ("app", "")])
def test_a_client_id_and_a_name_are_required_and_limited_in_length(client_id, name):
    assert len(refused_field(client_id=client_id, name=name)) == 1


@pytest.mark.parametrize("scope", ["openid", "openid profile", "email openid profile"])
def test_a_scope_that_the_site_knows_may_be_allowed(scope):
    assert refused_field(scope=scope) == {}


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("openid  profile", "Enter scope names separated by single spaces."),
        (" openid", "Enter scope names separated by single spaces."),
        ("openid,profile\n", "Enter scope names separated by single spaces."),
        ("admin", "Unknown scope admin. This site defines: openid, profile, email."),
        ("openid a b", "Unknown scope a, b. This site defines: openid, profile, email."),
        ("", "This field cannot be blank."),
    ],
)
def test_another_scope_is_refused(scope, message):
    assert refused_field(scope=scope) == {"scope": [message]}


def test_the_scopes_of_the_site_are_read_on_every_validation():
    with override_settings(CIAM_TOKEN={"SCOPES": {"orders": "See your orders"}}):
        assert refused_field(scope="orders") == {}
        assert refused_field(scope="openid") == {
            "scope": ["Unknown scope openid. This site defines: orders."]
        }


@pytest.mark.parametrize(
    "origins",
    [
        "",
        "https://app.example.com",
        "http://localhost:3000 https://app.example.com:8443",
        "https://app.example.com\nhttps://www.example.com",
        "https://[::1]:8000",
    ],
)
def test_origins_have_the_form_that_browsers_send(origins):
    assert refused_field(allowed_origins=origins) == {}


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "app.example.com",
        "https://",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com?",
        "https://app.example.com#x",
        "HTTPS://app.example.com",
        "https://App.example.com",
        "ftp://app.example.com",
        "javascript:alert(1)",
    ],
)
def test_anything_else_is_not_an_origin(origin):
    assert refused_field(allowed_origins=f"https://good.example.com {origin}") == {
        "allowed_origins": [f"{origin} is not an origin. Write it like this: https://app.example.com"]
    }


@pytest.mark.parametrize("field", [field for field, _, _ in LIFETIMES])
@pytest.mark.parametrize("value", [timedelta(seconds=1), timedelta(days=3660), None])
def test_a_client_has_finite_lifetimes_or_none_of_its_own(field, value):
    assert refused_field(**{field: value}) == {}


@pytest.mark.parametrize("field", [field for field, _, _ in LIFETIMES])
@pytest.mark.parametrize(
    "value",
    [timedelta(seconds=-1), timedelta(milliseconds=999), timedelta(days=3660, seconds=1), timedelta.max],
)
def test_a_lifetime_that_is_too_short_or_too_long_is_refused(field, value):
    assert refused_field(**{field: value}) == {
        field: ["A lifetime must be between one second and ten years."]
    }


@pytest.mark.parametrize("field", [field for field, _, _ in LIFETIMES])
def test_only_the_grace_period_may_be_zero(field):
    errors = refused_field(**{field: timedelta(0)})

    assert list(errors) == ([] if field == "refresh_token_grace_period" else [field])


@pytest.mark.parametrize(("field", "effective", "of_the_site"), LIFETIMES)
def test_the_effective_lifetime_is_that_of_the_client_or_of_the_site(field, effective, of_the_site):
    assert getattr(Client(), effective) == of_the_site
    assert getattr(Client(**{field: timedelta(seconds=7)}), effective) == timedelta(seconds=7)
    with override_settings(
        CIAM_TOKEN={
            "ACCESS_TOKEN_LIFETIME": 11,
            "ID_TOKEN_LIFETIME": 11,
            "REFRESH_TOKEN_LIFETIME": 11,
            "SESSION_LIFETIME": 11,
            "REFRESH_TOKEN_GRACE_PERIOD": 11,
        }
    ):
        assert getattr(Client(), effective) == timedelta(seconds=11)


def test_a_grace_period_of_zero_overrides_that_of_the_site():
    assert Client(refresh_token_grace_period=timedelta(0)).effective_grace_period == timedelta(0)


def test_a_site_may_have_sessions_without_an_end():
    with override_settings(CIAM_TOKEN={"SESSION_LIFETIME": None}):
        assert Client().effective_session_lifetime is None
        assert Client(session_lifetime=timedelta(days=1)).effective_session_lifetime == timedelta(days=1)


@pytest.mark.parametrize(
    ("application_type", "expected"), [("web", True), ("spa", False), ("mobile", False), ("m2m", True)]
)
def test_web_and_m2m_applications_must_have_a_secret(application_type, expected):
    assert Client(application_type=application_type).must_have_secret is expected


def test_there_are_four_types_of_application():
    assert ApplicationType.values == ["web", "spa", "mobile", "m2m"]
    assert list(refused_field(application_type="desktop")) == ["application_type"]


def test_the_audience_is_the_client_unless_another_is_named():
    assert Client(client_id="app").token_audience == "app"
    assert Client(client_id="app", audience="https://api.example.com").token_audience == (
        "https://api.example.com"
    )


@pytest.mark.django_db
def test_client_ids_that_differ_in_case_are_different():
    ClientFactory(client_id="portal")

    assert ClientFactory(client_id="Portal").pk
    with pytest.raises(ValidationError, match="already exists"):
        ClientFactory(client_id="portal")


@pytest.mark.parametrize(
    ("vendor", "collation"),
    [("mysql", "utf8mb4_bin"), ("postgresql", None), ("sqlite", None), ("oracle", None)],
)
def test_only_mariadb_needs_a_collation_for_case(monkeypatch, vendor, collation):
    monkeypatch.setattr(connection, "vendor", vendor)

    assert CaseSensitiveCharField(max_length=100).db_parameters(connection)["collation"] == collation


@pytest.mark.django_db
def test_a_secret_is_shown_by_its_last_characters(web_client):
    (secret,) = web_client.secrets.all()

    assert str(secret) == f"…{web_client.plain_secret[-4:]}"
    assert web_client.plain_secret not in repr(secret)


@pytest.mark.django_db
def test_the_newest_secret_comes_first(web_client):
    second = ClientSecret.objects.create(client=web_client, secret_digest="x", last_four="2222")

    assert web_client.secrets.first() == second


@pytest.mark.django_db
def test_a_session_is_shown_by_its_id(first_tokens):
    (session,) = RefreshToken.objects.all()

    assert str(session) == str(session.pk)
    assert session.pk.version == 7
    assert session.scopes == ("openid", "profile", "email")
    assert first_tokens["refresh_token"] not in repr(session)


@pytest.mark.django_db
def test_deleting_a_user_deletes_the_sessions_and_keeps_the_client(first_tokens, user, web_client):
    user.delete()

    assert RefreshToken.objects.count() == 0
    assert Client.objects.get() == web_client


@pytest.mark.django_db
def test_deleting_a_client_deletes_its_secrets_and_sessions_only(first_tokens, web_client, machine, user):
    issue_tokens(client=machine)

    web_client.delete()

    assert [session.client for session in RefreshToken.objects.all()] == [machine]
    assert [secret.client for secret in ClientSecret.objects.all()] == [machine]
    user.refresh_from_db()


def test_a_session_is_ended_for_one_of_five_reasons():
    assert RevocationReason.values == ["reuse", "client", "operator", "user", "consent_withdrawn"]


@pytest.mark.parametrize(
    ("seconds", "state"),
    [
        (-10, SigningKeyState.PUBLISHED),
        (-1e-6, SigningKeyState.PUBLISHED),
        (0, SigningKeyState.ACTIVE),
        (10 - 1e-6, SigningKeyState.ACTIVE),
        (10, SigningKeyState.RETIRED),
        (20 - 1e-6, SigningKeyState.RETIRED),
        (20, SigningKeyState.REMOVED),
        (1e9, SigningKeyState.REMOVED),
    ],
)
def test_the_state_of_a_key_follows_from_the_clock(seconds, state):
    key = SigningKey(
        active_at=INSTANT,
        retired_at=INSTANT + timedelta(seconds=10),
        removed_at=INSTANT + timedelta(seconds=20),
    )

    assert key.state(INSTANT + timedelta(seconds=seconds)) is state


def test_a_key_that_was_not_replaced_stays_active():
    assert SigningKey(active_at=INSTANT).state(INSTANT + timedelta(days=3660)) is SigningKeyState.ACTIVE


def test_a_compromised_key_is_removed_whether_or_not_it_ever_signed():
    key = SigningKey(active_at=INSTANT + timedelta(hours=1), removed_at=INSTANT)

    assert key.state(INSTANT) is SigningKeyState.REMOVED


def test_a_key_is_shown_by_its_kid():
    key = SigningKey(kid="the-kid", encrypted_private_key="hush")

    assert str(key) == "the-kid"
    assert repr(key) == "<SigningKey: the-kid>"
