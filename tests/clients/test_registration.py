"""What a new client gets, wherever it is made."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_ciam_token.api import create_client
from django_ciam_token.models import SecurityEvent

pytestmark = pytest.mark.django_db

LIFETIMES = [
    ("web", None, None),
    ("spa", None, None),
    ("mobile", timedelta(days=30), timedelta(days=180)),
    ("m2m", timedelta(days=30), timedelta(days=365)),
]


@pytest.mark.parametrize(("application_type", "idle", "session"), LIFETIMES)
def test_a_new_client_gets_the_lifetimes_of_its_type(application_type, idle, session):
    client, _ = create_client(name="App", application_type=application_type, session_lifetime=None)

    client.refresh_from_db()
    assert (client.refresh_token_lifetime, client.session_lifetime) == (idle, session)


def test_a_lifetime_that_is_given_overrides_that_of_the_type():
    client, _ = create_client(
        name="App", application_type="mobile", session_lifetime=timedelta(hours=1), client_id=None
    )

    assert client.session_lifetime == timedelta(hours=1)
    assert client.refresh_token_lifetime == timedelta(days=30)
    assert client.client_id


@pytest.mark.django_db(transaction=True)
def test_who_made_a_client_is_empty_unless_it_was_a_person():
    create_client(name="App", application_type="spa")
    create_client(name="App", application_type="spa", actor="alice")

    made = SecurityEvent.objects.filter(event="client_changed").order_by("pk")
    assert [event.actor for event in made] == ["", "alice"]
