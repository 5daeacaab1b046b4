"""Columns that are altered while the service runs, on PostgreSQL with prepared statements."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.contrib.auth import get_user_model
from django.db import NotSupportedError, connection, connections, transaction

from django_ciam_token.api import issue_tokens
from django_ciam_token.database.retry import mend, retry
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.keys import key_set
from django_ciam_token.models import Client, RefreshToken, SigningKey
from tests.conftest import post_form
from tests.factories import UserFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="plans are kept by PostgreSQL"),
]


@pytest.fixture(autouse=True)
def _prepared(as_in_production):
    """With the settings that docs/how-to/databases.md recommends: statements are prepared."""
    wrapper = connections["default"]
    options = wrapper.settings_dict["OPTIONS"]
    wrapper.settings_dict["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 1}
    wrapper.close()
    yield
    wrapper.close()
    wrapper.settings_dict["OPTIONS"] = options


@contextmanager
def altered(table, column, kind):
    """Alter a column as a migration does, in a process of its own, and put it back in the end."""

    def alter(kind):
        other = connections.create_connection("default")
        try:
            with other.cursor() as cursor:
                cursor.execute(
                    "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
                    "WHERE attrelid = %s::regclass AND attname = %s",
                    [table, column],
                )
                [(before,)] = cursor.fetchall()
                cursor.execute(f'ALTER TABLE "{table}" ALTER COLUMN "{column}" TYPE {kind}')
        finally:
            other.close()
        return before

    before = alter(kind)
    try:
        yield
    finally:
        alter(before)


def user_table():
    return altered(get_user_model()._meta.db_table, "first_name", "varchar(170)")


def test_every_refresh_goes_on_when_the_user_table_is_altered(web_client, first_tokens, refresh):
    token = first_tokens["refresh_token"]
    answers = []
    for number in range(12):
        if number == 6:
            with user_table():
                answer = refresh(web_client, token)
        else:
            answer = refresh(web_client, token)
        answers.append(answer.status_code)
        token = answer.json()["refresh_token"]

    assert answers == [200] * 12


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        (Client._meta.db_table, "name", "varchar(300)"),
        (RefreshToken._meta.db_table, "revoked_reason", "varchar(99)"),
        (RefreshToken._meta.db_table, "session_auth_hash", "varchar(999)"),
    ],
)
def test_and_when_a_table_of_our_own_is(web_client, first_tokens, refresh, table, column, kind):
    token = first_tokens["refresh_token"]
    for _ in range(4):
        token = refresh(web_client, token).json()["refresh_token"]

    with altered(table, column, kind):
        answer = refresh(web_client, token)

    assert answer.status_code == 200


def test_a_column_that_is_added_disturbs_nobody(web_client, first_tokens, refresh):
    token = first_tokens["refresh_token"]
    table = get_user_model()._meta.db_table
    for statement in ("ADD COLUMN added integer NOT NULL DEFAULT 0", "DROP COLUMN added"):
        for _ in range(3):
            token = refresh(web_client, token).json()["refresh_token"]
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER TABLE "{table}" {statement}')

        answer = refresh(web_client, token)

        assert answer.status_code == 200
        token = answer.json()["refresh_token"]


def test_introspection_goes_on(web_client, first_tokens):
    form = {
        "token": first_tokens["access_token"],
        "client_id": web_client.client_id,
        "client_secret": web_client.plain_secret,
    }
    for _ in range(4):
        post_form(form, url="/oauth2/introspect")

    with user_table():
        answer = post_form(form, url="/oauth2/introspect")

    assert (answer.status_code, answer.json()["active"]) == (200, True)


def test_the_last_copy_of_the_keys_is_kept_and_the_next_reading_works(monkeypatch):
    for _ in range(4):
        key_set.forget()
        copy = key_set.current()
    monkeypatch.setattr("time.monotonic", lambda later=copy.read_at.monotonic + 61: later)

    with altered(SigningKey._meta.db_table, "algorithm", "varchar(99)"):
        assert key_set.current().keys == copy.keys
        assert [key.pk for key in SigningKey.objects.all()] == [key.pk for key in copy.keys]


def test_within_a_transaction_of_the_site_it_is_unavailable_once(web_client):
    def begin():
        with transaction.atomic():
            return issue_tokens(client=web_client, user=UserFactory())

    def read(_=None):
        return list(RefreshToken.objects.select_related("user"))

    begin()
    for _ in range(4):
        read()
    with user_table():
        with pytest.raises(TemporarilyUnavailable), transaction.atomic():
            retry(read, using="default")
        with transaction.atomic():
            assert retry(read, using="default")


def test_a_pool_does_not_hand_out_the_same_plan_again():
    pytest.importorskip("psycopg_pool")
    wrapper = connections["default"]
    wrapper.settings_dict["OPTIONS"] |= {"pool": {"min_size": 1, "max_size": 2}}
    wrapper.settings_dict["CONN_MAX_AGE"] = 0
    UserFactory()
    try:
        for _ in range(4):
            names = list(get_user_model().objects.values_list("first_name"))
        with user_table():
            read = retry(lambda _: list(get_user_model().objects.values_list("first_name")), using="default")
        assert read == names
    finally:
        wrapper.close()
        wrapper.close_pool()
        del wrapper.settings_dict["OPTIONS"]["pool"]


def test_what_a_database_really_can_not_do_is_a_bug():
    def operation(_):
        raise NotSupportedError("no such feature")

    with pytest.raises(NotSupportedError):
        retry(operation, using="default")


def test_a_connection_that_is_not_open_is_mended_too():
    connection.close()
    error = NotSupportedError("0A000")

    mend("default", error)

    assert connection.connection is None
