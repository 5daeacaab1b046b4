from __future__ import annotations

import time
from datetime import timedelta
from functools import partial

import pytest
from django.contrib.auth.hashers import make_password
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token.clients import authentication, secrets
from django_ciam_token.clients.methods import METHODS, Credentials
from django_ciam_token.concealed import Concealed
from django_ciam_token.models import ClientSecret
from django_ciam_token.sessions.rows import StoredSecret
from tests.locks import held_elsewhere, row_locks, table_lock

pytestmark = pytest.mark.django_db


def authenticate(client, **fields):
    given = {"client_id": client.client_id, "secret": client.plain_secret, **fields}
    method = METHODS[2] if given["secret"] is None else METHODS[1]
    given["secret"] = given["secret"] and Concealed(given["secret"])
    credentials = Credentials(method, **given)
    return authentication.authenticate(credentials, now=timezone.now()).client


def test_the_use_of_a_secret_is_noted_once_an_hour(web_client):
    ClientSecret.objects.update(last_used_at=None)
    for age, statements in ((None, 1), (timedelta(minutes=59), 0), (timedelta(hours=1), 1)):
        if age is not None:
            ClientSecret.objects.update(last_used_at=timezone.now() - age)
        with CaptureQueriesContext(connection) as queries:
            authenticate(web_client)
        assert sum(query["sql"].startswith("UPDATE") for query in queries) == statements
    assert timezone.now() - ClientSecret.objects.get().last_used_at < timedelta(minutes=1)


def test_only_the_secret_that_was_used_is_noted(operator, web_client):
    secrets.rotate_client_secret(web_client, overlap=timedelta(hours=1))
    ClientSecret.objects.update(last_used_at=None)

    authenticate(web_client)

    used = ClientSecret.objects.exclude(last_used_at=None).get()
    assert used.last_four == web_client.plain_secret[-4:]


def test_an_imported_secret_is_noted_only_if_it_was_the_one(web_client):
    imported = secrets.import_client_secret(web_client, make_password("brought along"))
    drawn = secrets.rotate_client_secret(web_client)
    ClientSecret.objects.update(last_used_at=None)

    authenticate(web_client, secret=drawn)
    imported.refresh_from_db()
    assert imported.last_used_at is None

    authenticate(web_client, secret="brought along")
    imported.refresh_from_db()
    assert imported.last_used_at is not None


def test_of_two_requests_at_once_one_notes_the_use(web_client):
    """The other has read the row before."""
    now = timezone.now()
    row = ClientSecret.objects.get()
    stale = StoredSecret(pk=row.pk, digest=row.secret_digest, expires_at=None, last_used_at=None)
    ClientSecret.objects.update(last_used_at=now - timedelta(seconds=1))

    authentication._write_use(stale, now, using="default")

    row.refresh_from_db()
    assert row.last_used_at == now - timedelta(seconds=1)


def test_a_public_client_and_a_wrong_secret_leave_no_trace(spa_client, web_client):
    ClientSecret.objects.update(last_used_at=None)
    authenticate(spa_client, secret=None)
    with pytest.raises(authentication.InvalidClient):
        authenticate(web_client, secret="wrong")

    assert ClientSecret.objects.get().last_used_at is None


def test_authentication_succeeds_even_if_the_use_can_not_be_noted(web_client, monkeypatch, caplog):
    ClientSecret.objects.update(last_used_at=None)

    def fail(*args, **kwargs):
        raise OperationalError("disk full")

    monkeypatch.setattr("django.db.models.QuerySet.update", fail)

    assert authenticate(web_client) == web_client
    assert "could not be noted" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lock", [row_locks, table_lock])
def test_authentication_does_not_wait_until_the_use_can_be_noted(web_client, lock, caplog):
    ClientSecret.objects.update(last_used_at=None)
    with held_elsewhere(partial(lock, ClientSecret)):
        begun_at = time.monotonic()
        for _ in range(10):
            assert authenticate(web_client) == web_client
        assert time.monotonic() - begun_at < 1

    # The others did not try.
    assert caplog.text.count("could not be noted: OperationalError") == 1
    assert ClientSecret.objects.get().last_used_at is None
    authentication._not_noted.end()
    authenticate(web_client)
    assert ClientSecret.objects.get().last_used_at is not None
