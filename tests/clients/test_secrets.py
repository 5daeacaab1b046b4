from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.clients import secrets
from django_ciam_token.clients.registration import create_client
from django_ciam_token.clients.secrets import import_client_secret, rotate_client_secret, secret_digest
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client, ClientSecret
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def stored(client):
    """What is stored of each secret: which it is and when it expires, newest first."""
    return [(secret.secret_digest, secret.expires_at) for secret in client.secrets.order_by("-pk")]


@pytest.mark.parametrize("application_type", ["web", "m2m"])
def test_a_confidential_client_gets_a_secret_of_which_only_the_digest_is_stored(application_type):
    client, secret = create_client(name="App", application_type=application_type)

    assert re.fullmatch(r"ciam_cs_[A-Za-z0-9_-]{43}", secret)
    (row,) = ClientSecret.objects.values()
    assert row.pop("created_at") - NOW < timedelta(minutes=5)
    assert row == {
        "id": row["id"],
        "client_id": client.pk,
        "secret_digest": secret_digest(secret),
        "last_four": secret[-4:],
        "expires_at": None,
        "last_used_at": None,
    }
    assert secret not in repr(list(ClientSecret.objects.values()) + list(Client.objects.values()))


@pytest.mark.parametrize("application_type", ["spa", "mobile"])
def test_a_public_client_gets_none(application_type):
    client, secret = create_client(name="App", application_type=application_type)

    assert secret is None
    assert Client.objects.get() == client
    assert not ClientSecret.objects.exists()


def test_a_client_is_saved_with_the_fields_it_was_given():
    client, _ = create_client(
        name="App",
        application_type="spa",
        client_id="my-app",
        scope="openid email",
        allowed_origins="https://app.example.com",
        access_token_lifetime=timedelta(minutes=1),
    )

    saved = Client.objects.get()
    assert (saved.pk, saved.name, saved.application_type) == (client.pk, "App", "spa")
    assert (saved.client_id, saved.scopes) == ("my-app", ("openid", "email"))
    assert saved.allowed_origins == "https://app.example.com"
    assert saved.access_token_lifetime == timedelta(minutes=1)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"application_type": "desktop"},
        {"client_id": "a b"},
        {"client_id": "taken"},
        {"scope": "admin"},
        {"allowed_origins": "app.example.com"},
        {"session_lifetime": timedelta(0)},
    ],
)
def test_nothing_is_saved_of_a_client_that_is_wrong(fields):
    ClientFactory(client_id="taken", application_type="spa")

    with pytest.raises(ValidationError):
        create_client(**{"name": "App", "application_type": "web", **fields})

    assert [client.client_id for client in Client.objects.all()] == ["taken"]
    assert not ClientSecret.objects.exists()


def test_there_is_no_client_without_the_secret_that_it_must_have(monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("disk full")

    monkeypatch.setattr(ClientSecret, "save", fail)

    with pytest.raises(OperationalError):
        create_client(name="App", application_type="web")

    assert not Client.objects.exists()


def test_the_present_secret_goes_on_working_for_the_overlap(web_client):
    first = web_client.plain_secret

    second = rotate_client_secret(web_client, overlap=timedelta(hours=2), now=NOW)

    assert second != first
    assert stored(web_client) == [
        (secret_digest(second), None),
        (secret_digest(first), NOW + timedelta(hours=2)),
    ]
    assert web_client.secrets.first().created_at == NOW


@pytest.mark.parametrize(
    ("site", "overlap"), [({}, timedelta(days=7)), ({"CLIENT_SECRET_OVERLAP": 60}, timedelta(minutes=1))]
)
def test_the_overlap_is_the_sites_unless_said_otherwise(web_client, site, overlap):
    with override_settings(CIAM_TOKEN=site):
        rotate_client_secret(web_client, now=NOW)

    assert stored(web_client)[1][1] == NOW + overlap


def test_without_overlap_the_present_secret_ends_now(web_client):
    rotate_client_secret(web_client, overlap=timedelta(0), now=NOW)

    assert stored(web_client)[1][1] == NOW


def test_the_present_is_the_hosts_clock_unless_said_otherwise(web_client):
    before = timezone.now()
    rotate_client_secret(web_client, overlap=timedelta(hours=1))
    after = timezone.now()

    assert before <= stored(web_client)[1][1] - timedelta(hours=1) <= after


def test_there_are_never_more_than_two_secrets_alive(web_client):
    first = web_client.plain_secret
    second = rotate_client_secret(web_client, now=NOW)
    later = NOW + timedelta(hours=1)
    web_client.secrets.update(last_used_at=later)

    third = rotate_client_secret(web_client, overlap=timedelta(days=1), now=later)

    assert stored(web_client) == [
        (secret_digest(third), None),
        (secret_digest(second), later + timedelta(days=1)),
        (secret_digest(first), later),
    ]


def test_a_secret_that_never_got_to_the_application_does_not_end_the_one_in_use(web_client):
    first = web_client.plain_secret
    unseen = rotate_client_secret(web_client, overlap=timedelta(days=7), now=NOW)
    later = NOW + timedelta(seconds=1)

    second = rotate_client_secret(web_client, overlap=timedelta(days=7), now=later)

    assert stored(web_client) == [
        (secret_digest(second), None),
        (secret_digest(unseen), later),
        (secret_digest(first), NOW + timedelta(days=7)),
    ]


def test_secrets_that_have_expired_are_deleted(web_client):
    second = rotate_client_secret(web_client, overlap=timedelta(hours=1), now=NOW)
    later = NOW + timedelta(hours=1)

    third = rotate_client_secret(web_client, overlap=timedelta(0), now=later)

    assert [digest for digest, _ in stored(web_client)] == [secret_digest(third), secret_digest(second)]


@pytest.mark.django_db(transaction=True)
def test_a_rotation_whose_commit_broke_is_carried_out_once(web_client, break_next_commit):
    broken = break_next_commit()

    secret = rotate_client_secret(web_client, overlap=timedelta(hours=1), now=NOW)

    assert broken
    assert stored(web_client) == [
        (secret_digest(secret), None),
        (secret_digest(web_client.plain_secret), NOW + timedelta(hours=1)),
    ]


def test_an_overlap_never_lengthens_the_life_of_a_secret(web_client):
    ends_soon = NOW + timedelta(minutes=1)
    web_client.secrets.update(expires_at=ends_soon)

    rotate_client_secret(web_client, overlap=timedelta(days=1), now=NOW)

    assert stored(web_client)[1][1] == ends_soon


def test_a_public_client_becomes_confidential(spa_client):
    secret = rotate_client_secret(spa_client, now=NOW)

    assert stored(spa_client) == [(secret_digest(secret), None)]


def test_the_secrets_of_other_clients_are_left_alone(web_client, machine):
    rotate_client_secret(web_client)

    assert stored(machine) == [(secret_digest(machine.plain_secret), None)]


def test_a_rotation_is_logged_and_signalled(web_client, traces, caplog, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        rotate_client_secret(web_client, overlap=timedelta(hours=1), now=NOW)

    ends_at = NOW + timedelta(hours=1)
    (record,) = [record for record in caplog.records if record.name == "django_ciam_token"]
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        f"Client {web_client.client_id} got a new secret; the one before works until "
        f"{ends_at.isoformat()} at most"
    )
    assert (record.event, record.client_id) == ("client_secret_rotated", web_client.client_id)
    (arguments,) = traces.of(signals.client_secret_rotated)
    assert arguments["sender"] is Client
    assert arguments["client"] == web_client
    assert arguments["replaced_expires_at"] == ends_at


def test_a_database_that_refuses_changes_nothing(web_client, traces, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise OperationalError("disk full")

    monkeypatch.setattr(secrets, "_store_secret", fail)

    with pytest.raises(TemporarilyUnavailable):
        rotate_client_secret(web_client)

    assert stored(web_client) == [(secret_digest(web_client.plain_secret), None)]
    assert traces.of(signals.client_secret_rotated) == []
    assert not any("got a new secret" in record.getMessage() for record in caplog.records)


PBKDF2 = "pbkdf2_sha256$10$salt$hash="
knows_pbkdf2 = override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"])


@knows_pbkdf2
def test_an_imported_secret_keeps_the_hash_it_had_and_ends_the_others(web_client):
    imported = import_client_secret(web_client, PBKDF2)

    newest, first = web_client.secrets.order_by("-pk")
    assert newest == imported
    assert (newest.secret_digest, newest.expires_at, str(newest)) == (PBKDF2, None, "…????")
    assert first.secret_digest == secret_digest(web_client.plain_secret)
    assert NOW - timedelta(hours=1) < first.expires_at <= timezone.now()


@knows_pbkdf2
def test_an_import_waits_for_a_rotation(web_client):
    with CaptureQueriesContext(connection) as queries:
        import_client_secret(web_client, PBKDF2)

    # A session may begin meanwhile, where the database has a lock that lets it.
    lock = "FOR NO KEY UPDATE" if connection.features.has_select_for_no_key_update else "FOR UPDATE"
    locks = [query["sql"] for query in queries if lock in query["sql"]]
    assert bool(locks) is connection.features.has_select_for_update


@knows_pbkdf2
def test_a_public_client_can_be_given_an_imported_secret(spa_client):
    import_client_secret(spa_client, PBKDF2)

    assert stored(spa_client) == [(PBKDF2, None)]


@knows_pbkdf2
@pytest.mark.parametrize(
    "text",
    [
        "",
        "hush",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "pbkdf2_sha256$",
        "pbkdf2_sha256$ten$salt$hash=",
        "pbkdf2_sha256$10$salt",
        "bcrypt$$2b$12$hush",
        "md5$salt$hash",
        "!unusable",
        secret_digest("hush"),
    ],
)
def test_what_the_site_can_not_check_is_not_imported(web_client, text):
    with pytest.raises(ValueError, match=r"^not a password hash that PASSWORD_HASHERS can check"):
        import_client_secret(web_client, text)

    assert stored(web_client) == [(secret_digest(web_client.plain_secret), None)]


@knows_pbkdf2
def test_a_hash_that_does_not_fit_is_not_imported(web_client):
    with pytest.raises(ValueError, match=r"^a password hash of more than 255 characters$"):
        import_client_secret(web_client, PBKDF2 + "x" * 256)

    assert stored(web_client) == [(secret_digest(web_client.plain_secret), None)]
