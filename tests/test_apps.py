from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import isolate_apps

from django_ciam_token.keys import signing_keys
from django_ciam_token.models import SigningKey
from tests.partitions import leaves, select

pytestmark = pytest.mark.django_db


def test_migrate_makes_the_first_key_and_says_so(capsys):
    SigningKey.objects.all().delete()

    call_command("migrate", verbosity=1, skip_checks=False)

    key = SigningKey.objects.get()
    assert f"Made the first signing key: {key.kid} (RS256)" in capsys.readouterr().out


def test_migrate_is_not_stopped_by_unusable_keys(settings):
    settings.SECRET_KEY = "another-" + "0123456789abcdef" * 3

    call_command("migrate", verbosity=0, skip_checks=False)


def test_migrate_does_not_change_existing_keys(capsys):
    before = SigningKey.objects.get()

    call_command("migrate", verbosity=0)

    assert SigningKey.objects.get() == before
    assert "signing key" not in capsys.readouterr().out


def test_migrate_without_verbosity_is_silent(capsys):
    SigningKey.objects.all().delete()

    call_command("migrate", verbosity=0)

    assert SigningKey.objects.exists()
    assert capsys.readouterr().out == ""


def test_no_key_is_made_on_another_database_or_without_the_table(monkeypatch):
    SigningKey.objects.all().delete()

    assert signing_keys.ensure_first_key(using="other") is None
    monkeypatch.setattr(SigningKey._meta, "db_table", "not_there_yet")
    assert signing_keys.ensure_first_key(using="default") is None


def test_the_migrations_are_complete():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has a fill factor")
def test_pages_of_sessions_have_room_for_the_next_version_of_a_row():
    options = select("SELECT reloptions FROM pg_class WHERE oid = ANY (%s::regclass[])", leaves())

    assert options == [(["fillfactor=80"],)] * len(leaves())


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL counts heap-only updates")
def test_rotations_are_heap_only_updates(web_client, user, refresh):
    from django_ciam_token.api import issue_tokens

    token = issue_tokens(client=web_client, user=user)["refresh_token"]
    updates_before, heap_only_before = updates_of_sessions()

    for _ in range(40):
        token = refresh(web_client, token).json()["refresh_token"]

    updates, heap_only = updates_of_sessions()
    assert updates - updates_before == 40
    assert heap_only - heap_only_before >= 38


def updates_of_sessions():
    """How many updates PostgreSQL has counted, and how many of them changed no index."""
    connection.close()  # PostgreSQL counts what a connection did at the latest when it ends.
    select("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
    return select(
        "SELECT sum(n_tup_upd), sum(n_tup_hot_upd) FROM pg_stat_user_tables "
        "WHERE relid = ANY (%s::regclass[])",
        leaves(),
    )[0]


def test_a_site_without_drf_spectacular_starts(monkeypatch):
    monkeypatch.setattr(apps, "is_installed", lambda name: False)

    apps.get_app_config("django_ciam_token").ready()


def test_proxies_of_the_user_model_keep_sessions_at_upgrades_by_methods_of_their_own(monkeypatch):
    with isolate_apps("django.contrib.auth"):

        class Employee(User):
            class Meta:
                proxy = True
                app_label = "auth"

            def check_password(self, raw_password):
                raise NotImplementedError

    monkeypatch.setattr(apps, "get_models", lambda: [*User.__subclasses__(), SigningKey])

    apps.get_app_config("django_ciam_token").ready()

    assert Employee.check_password.keeps_sessions
    assert Employee.check_password is not User.check_password
    assert Employee.save is User.save
