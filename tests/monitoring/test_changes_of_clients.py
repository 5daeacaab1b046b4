"""What operators change of clients is in the audit trail: who, what, the old and the new value, no secret."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command

from django_ciam_token.models import Client, SecurityEvent
from tests.admin.new_clients import SECRET, add_client
from tests.admin.test_clients import fields_of
from tests.factories import ClientFactory
from tests.operators import url

pytestmark = pytest.mark.django_db(transaction=True)


def the_event():
    event = SecurityEvent.objects.get()
    assert (event.event, event.session_id, event.user_id) == ("client_changed", None, "")
    assert not SECRET.search(str(event.detail))
    return event


def test_a_change_in_the_form(operator, web_client):
    page = url("client_change", web_client.pk)
    changes = {"scope": ["openid"], "may_introspect": "on", "session_lifetime": "3600"}

    operator.post(page, {**fields_of(operator.get(page)), **changes})

    event = the_event()
    assert (event.client_id, event.actor, event.address) == (web_client.client_id, "operator", "127.0.0.1")
    assert event.reason == "scope, session_lifetime, may_introspect"
    assert event.detail == {
        "scope": ["openid profile email", "openid"],
        "session_lifetime": [None, "01:00:00"],
        "may_introspect": [False, True],
    }
    shown = operator.get(url("securityevent_change", event.pk)).content.decode()
    assert "<code>scope</code>: openid profile email → openid<" in shown
    assert "<code>session_lifetime</code>: - → 01:00:00<" in shown
    assert "<code>may_introspect</code>: no → yes<" in shown


def test_a_form_in_which_nothing_was_changed(operator, web_client):
    page = url("client_change", web_client.pk)

    operator.post(page, fields_of(operator.get(page)))

    assert not SecurityEvent.objects.exists()


def test_disabling_and_enabling(operator, web_client):
    other = ClientFactory(is_active=False)
    form = {"action": "disable", "_selected_action": [web_client.pk, other.pk], "confirmed": "yes"}
    operator.post(url("client_changelist"), form)

    event = the_event()
    assert (event.client_id, event.reason) == (web_client.client_id, "is_active")
    assert event.detail == {"is_active": [True, False]}
    assert event.actor == "operator"
    event.delete()
    operator.post(url("client_switch", web_client.pk), {"confirmed": "yes", "switch": "on"})
    assert the_event().detail == {"is_active": [False, True]}
    operator.post(url("client_switch", web_client.pk), {"confirmed": "yes", "switch": "on"})
    the_event()


def test_creation(operator):
    add_client(operator, allowed_origins="https://a.example https://b.example")

    event = the_event()
    assert (event.client_id, event.reason, event.actor) == ("portal", "created", "operator")
    assert event.detail["application_type"] == [None, "web"]
    assert event.detail["allowed_origins"] == [None, ["https://a.example", "https://b.example"]]
    assert "may_introspect" not in event.detail


@pytest.mark.parametrize("is_selected", [False, True])
def test_deletion(operator, is_selected):
    client = ClientFactory(redirect_uris="https://a.example/")
    if is_selected:
        form = {"action": "delete_selected", "_selected_action": [client.pk], "post": "yes"}
        operator.post(url("client_changelist"), form)
    else:
        operator.post(url("client_delete", client.pk), {"post": "yes"})

    event = the_event()
    assert (event.client_id, event.reason, event.actor) == (client.client_id, "deleted", "operator")
    assert event.detail["redirect_uris"] == [["https://a.example/"], None]
    assert not Client.objects.exists()
    shown = operator.get(url("securityevent_change", event.pk)).content.decode()
    assert "<code>redirect_uris</code>: https://a.example/ → -<" in shown


def test_the_commands(web_client):
    call_command("update_client", web_client.client_id, "--disable", stdout=StringIO())

    event = the_event()
    assert event.actor.endswith("(manage.py)")
    assert (event.reason, event.detail) == ("is_active", {"is_active": [True, False]})
    event.delete()
    call_command("create_client", "Portal", "--type", "web", stdout=StringIO())
    event = the_event()
    assert event.reason == "created"
    assert event.actor.endswith("(manage.py)")


def test_the_list_of_events_names_the_fields(operator, web_client):
    call_command("update_client", web_client.client_id, "--ask-consent", stdout=StringIO())

    page = operator.get(url("securityevent_changelist")).content.decode()

    # Where the line may be broken is marked.
    assert "asks_consent" in page.replace("<wbr>", "")
    assert "client changed" in page
