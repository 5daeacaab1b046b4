"""Changing clients, and what is reported of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from django_ciam_token import signals
from django_ciam_token.api import update_client
from django_ciam_token.clients.changes import edit_client
from django_ciam_token.models import Client
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def heard():
    """What the signal said."""
    said = []

    def hear(**arguments):
        said.append(arguments)

    signals.client_changed.connect(hear)
    yield said
    signals.client_changed.disconnect(hear)


def test_only_what_changed_is_written_and_reported(heard, web_client, caplog):
    Client.objects.update(name="Renamed by somebody else")
    fields = {
        "scope": "openid email",
        "session_lifetime": timedelta(hours=1, seconds=5),
        "redirect_uris": "https://a.example/\r\nhttps://b.example/",
        "may_introspect": True,
        "asks_consent": False,
    }

    with caplog.at_level("INFO", "django_ciam_token"):
        changes = update_client(web_client, actor="alice", **fields)

    assert changes == {
        "scope": ("openid profile email", "openid email"),
        "session_lifetime": (None, "01:00:05"),
        "may_introspect": (False, True),
        "redirect_uris": ([], ["https://a.example/", "https://b.example/"]),
    }
    [said] = heard
    assert (said["client"], said["action"], said["changes"]) == (web_client, "changed", changes)
    assert said["actor"] == "alice"
    stored = Client.objects.get()
    assert (stored.name, stored.scope, stored.may_introspect) == (
        "Renamed by somebody else",
        "openid email",
        True,
    )
    assert (web_client.scope, web_client.session_lifetime) == ("openid email", timedelta(hours=1, seconds=5))
    [record] = caplog.records
    assert record.event == "client_changed"
    assert record.actor == "alice"
    assert "redirect_uris" in record.getMessage()


def test_the_same_values_again_change_nothing(heard):
    client = ClientFactory(redirect_uris="https://a.example/ https://b.example/")

    assert (
        update_client(client, redirect_uris="https://a.example/\nhttps://b.example/", name=client.name) == {}
    )
    assert heard == []


def test_a_dry_run_changes_nothing(heard, web_client):
    assert update_client(web_client, is_active=False, dry_run=True) == {"is_active": (True, False)}
    assert Client.objects.get().is_active
    assert web_client.is_active
    assert heard == []


@pytest.mark.parametrize(
    "field", ["client_id", "application_type", "created_at", "id", "secrets", "nonsense"]
)
def test_what_others_rely_on_can_not_be_changed(web_client, field):
    with pytest.raises(ValueError, match=field):
        update_client(web_client, **{field: "x"})


def test_a_wrong_value_changes_nothing(heard, web_client):
    with pytest.raises(ValidationError) as caught:
        update_client(web_client, name="New", redirect_uris="https://a.example/ com.example.app:/ nonsense")

    assert list(caught.value.message_dict) == ["redirect_uris"]
    assert len(caught.value.message_dict["redirect_uris"]) == 2
    assert Client.objects.get().name != "New"
    assert heard == []


def test_an_old_value_that_is_no_longer_right_keeps_nobody_from_disabling_a_client(settings, web_client):
    Client.objects.update(redirect_uris="com.example.app:/", scope="withdrawn")

    update_client(web_client, is_active=False)

    assert not Client.objects.get().is_active
    with pytest.raises(ValidationError):
        update_client(web_client, redirect_uris="com.example.app:/other")


def test_a_change_is_reported_after_a_commit_whose_outcome_was_unknown(heard, web_client, monkeypatch):
    monkeypatch.setattr("django_ciam_token.clients.changes.retry", lambda write, using: _twice(write))

    assert update_client(web_client, is_active=False) == {"is_active": (True, False)}
    assert len(heard) == 1


def _twice(write):
    write(1)
    return write(2)


def test_an_edit_sees_the_present_row(web_client):
    Client.objects.update(allowed_origins="https://a.example")

    def edit(row):
        row.allowed_origins += " https://b.example"

    changes = edit_client(web_client, edit)

    assert changes == {"allowed_origins": (["https://a.example"], ["https://a.example", "https://b.example"])}
    assert web_client.allowed_origins == "https://a.example https://b.example"
