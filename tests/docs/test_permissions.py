"""The permissions in the reference are enough for the service, and none is for nothing."""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import OperationalError, ProgrammingError, connection

from django_ciam_token.api import (
    create_client,
    issue_tokens,
    list_sessions,
    rotate_client_secret,
    rotate_signing_key,
)
from django_ciam_token.models import SecurityEvent
from tests.conftest import post_form
from tests.docs.pages import REFERENCE
from tests.factories import UserFactory

PAGE = (REFERENCE / "permissions.md").read_text()
USER = "ciam_app"


def grants(vendor):
    [block] = re.findall(rf"<!-- sql: {vendor} -->\n```sql\n(.*?)```", PAGE, re.DOTALL)
    return [statement.strip() for statement in block.split(";") if statement.strip()]


@pytest.mark.parametrize("vendor", ["postgresql", "mysql"])
def test_every_table_is_named(vendor):
    named = set(re.findall(r"django_ciam_token_\w+", " ".join(grants(vendor))))

    assert named == {model._meta.db_table for model in apps.get_app_config("django_ciam_token").get_models()}


@pytest.fixture
def as_the_app(db):
    """Connect as a user who has the permissions of the page and no others."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no users")
    before = dict(connection.settings_dict)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP ROLE IF EXISTS {USER}")
            cursor.execute(f"CREATE ROLE {USER} LOGIN PASSWORD 'app'")
        else:
            cursor.execute(f"CREATE OR REPLACE USER {USER} IDENTIFIED BY 'app'")
        for statement in grants(connection.vendor):
            cursor.execute(statement)
    UserFactory(username="alice")
    connection.close()
    connection.settings_dict.update(USER=USER, PASSWORD="app")
    yield
    connection.close()
    connection.settings_dict.clear()
    connection.settings_dict.update(before)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP OWNED BY {USER}")
        cursor.execute(f"DROP {'ROLE' if connection.vendor == 'postgresql' else 'USER'} {USER}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("as_the_app")
def test_they_suffice_for_the_service():
    alice = get_user_model().objects.get(username="alice")
    rotate_signing_key(immediately=True)
    client, secret = create_client(name="Portal", application_type="web", client_id="portal")
    first = issue_tokens(client=client, user=alice)["refresh_token"]
    form = {"client_id": "portal", "client_secret": secret}
    refreshing = {**form, "grant_type": "refresh_token"}

    answer = post_form({**refreshing, "refresh_token": first})
    assert answer.status_code == 200
    newest = answer.json()["refresh_token"]
    assert post_form({**refreshing, "refresh_token": newest}).status_code == 200
    assert post_form({**refreshing, "refresh_token": first}).status_code == 400  # a reuse
    rotate_client_secret(client)
    assert list_sessions(user=alice) == []
    call_command("purge_tokens", verbosity=0)
    assert SecurityEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("as_the_app")
def test_they_do_not_suffice_to_change_a_table():
    with pytest.raises((ProgrammingError, OperationalError)), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_ciam_token_client ADD COLUMN x integer")
