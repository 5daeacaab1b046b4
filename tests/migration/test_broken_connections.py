"""The connection may break while the clients of the other package are read."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from django.db import OperationalError, connection

from django_ciam_token.integrations import importing
from django_ciam_token.models import Client
from tests.migration.packages import Allauth, Toolkit, run_import

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("package", [Toolkit(), Allauth()], ids=lambda package: package.name)
def test_clients_are_still_imported_if_the_connection_breaks_between_two(package, monkeypatch):
    """A cursor that PostgreSQL keeps open would be gone, and with it the rest of the clients."""
    registered = {package.register().client_id for _ in range(3)}
    real, calls = importing.import_client, []

    def import_client(*arguments, **options):
        calls.append(None)
        if len(calls) == 2:
            connection.close()
        return real(*arguments, **options)

    monkeypatch.setattr(importing, "import_client", import_client)

    run_import(package)

    assert set(Client.objects.values_list("client_id", flat=True)) == registered


@pytest.mark.parametrize("package", [Toolkit(), Allauth()], ids=lambda package: package.name)
def test_a_database_that_breaks_off_is_asked_again(package):
    registered = package.register()
    failures = [OperationalError("gone")]

    def break_off(execute, sql, *arguments):
        if failures and sql.startswith("SELECT"):
            raise failures.pop()
        return execute(sql, *arguments)

    with connection.execute_wrapper(break_off), patch("time.sleep"):
        run_import(package)

    assert Client.objects.get().client_id == registered.client_id
