"""Running commands as an operator does."""

from __future__ import annotations

import json
import sys
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.db.models import QuerySet

from django_ciam_token.database import retry
from tests.conftest import post_form


@pytest.fixture
def errors():
    """What the commands write to standard error."""
    return StringIO()


@pytest.fixture
def run(errors):
    """Run a command and return what it wrote to standard output."""

    def run(*arguments):
        output = StringIO()
        call_command(*arguments, stdout=output, stderr=errors)
        return output.getvalue()

    return run


@pytest.fixture
def run_json(run):
    """Run a command with --json; what it wrote must be one JSON object and nothing else."""
    return lambda *arguments: json.loads(run(*arguments, "--json"))


@pytest.fixture
def typed(monkeypatch):
    """Put this text on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", StringIO(text))


@pytest.fixture
def refusing(monkeypatch):
    """Make a queryset method fail after some calls, as if the database refused."""
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)

    def refuse(method, *, after=0):
        original = getattr(QuerySet, method)
        calls = []

        def wrapper(self, *args, **kwargs):
            calls.append(1)
            if len(calls) > after:
                raise OperationalError("gone")
            return original(self, *args, **kwargs)

        monkeypatch.setattr(QuerySet, method, wrapper)

    return refuse


def client_is_accepted(client_id, client_secret):
    form = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": "x"}
    response = post_form({**form, "client_secret": client_secret or ""})
    return response.json() == {"error": "invalid_grant"}
