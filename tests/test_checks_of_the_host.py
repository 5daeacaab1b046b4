"""The checks of where the reasons of refusals go, and of the tables."""

from __future__ import annotations

import logging

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder

from django_ciam_token.checks import check_logs, check_tables, tables


@pytest.fixture
def logger(monkeypatch):
    """The package's logger, and a root logger as Django leaves it."""
    logger = logging.getLogger("django_ciam_token")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    # Another test may have configured logging.
    monkeypatch.setattr(logger, "disabled", False)
    logger.manager._clear_cache()
    yield logger
    logger.manager._clear_cache()


@pytest.mark.parametrize(
    ("handlers", "level"), [([], logging.INFO), ([logging.NullHandler()], logging.WARNING)]
)
def test_i001_the_reasons_are_not_logged(logger, monkeypatch, handlers, level):
    monkeypatch.setattr(logger, "handlers", handlers)
    logger.setLevel(level)

    [found] = check_logs(None)

    assert found.id == "django_ciam_token.I001"
    assert "'django_ciam_token': {'handlers': ['console'], 'level': 'INFO'}" in found.hint


def test_a_handler_that_gets_them_is_enough(logger, monkeypatch):
    monkeypatch.setattr(logger, "handlers", [logging.NullHandler()])
    logger.setLevel(logging.INFO)

    assert check_logs(None) == []


@pytest.mark.django_db
def test_w027_the_tables_are_of_another_version():
    migrations = MigrationRecorder.Migration.objects.using("default").filter(app="django_ciam_token")
    latest = migrations.latest("name")
    assert check_tables(None, databases=["default"]) == []
    latest.delete()

    [found] = check_tables(None, databases=["default"])

    assert found.id == "django_ciam_token.W027"
    assert latest.name in found.msg
    assert found.hint == "Run: manage.py migrate django_ciam_token --database default"
    # As all checks that query, only if asked for.
    assert check_tables(None) == []


@pytest.mark.django_db
def test_a_new_database_is_about_to_get_its_tables(monkeypatch):
    monkeypatch.setattr(MigrationRecorder, "has_table", lambda self: False)

    assert check_tables(None, databases=["default"]) == []


@pytest.mark.django_db
def test_a_database_that_does_not_answer_is_reported_by_others(monkeypatch):
    def refuse(*arguments, **options):
        raise OperationalError("gone")

    monkeypatch.setattr(tables, "MigrationLoader", refuse)

    assert check_tables(None, databases=["default"]) == []


@pytest.mark.django_db
def test_the_check_is_part_of_the_command(capsys):
    MigrationRecorder(connection).record_unapplied("django_ciam_token", "0001_initial")

    call_command("check", "--database", "default")

    assert "(django_ciam_token.W027)" in capsys.readouterr().err
