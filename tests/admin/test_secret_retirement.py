from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from django_ciam_token.admin import secret_retirement as page_module
from django_ciam_token.admin import times
from django_ciam_token.api import rotate_client_secret
from django_ciam_token.clients.secret_retirement import OnlySecret, live_secrets
from django_ciam_token.models import ClientSecret, EventType, SecurityEvent
from tests.operators import browser_of, refuse, url

pytestmark = pytest.mark.django_db

PAGE = "client_retire_secret"


@pytest.fixture
def two(web_client):
    """A client with two secrets, the older one in use."""
    rotate_client_secret(web_client, overlap=timedelta(days=7))
    return web_client


def test_the_page_says_of_each_secret_when_it_was_created_and_last_used(operator, two):
    new, old = live_secrets(two)
    page = operator.get(url(PAGE, two.pk)).content.decode()

    assert f"…{old.last_four}, created" in page
    assert f"…{new.last_four}, created" in page
    assert page.count(f"last used {times.exact(old.last_used_at)}") == 1
    assert f"ends {times.exact(old.expires_at)}" in page
    assert page.count("never used") == 1
    assert "is refused from now on" in page
    assert "checked" not in page
    assert len(live_secrets(two)) == 2


def test_the_chosen_one_is_retired_and_audited(operator, two, django_capture_on_commit_callbacks):
    new, old = live_secrets(two)

    with django_capture_on_commit_callbacks(execute=True):
        answer = operator.post(url(PAGE, two.pk), {"confirmed": "yes", "secret": str(old.pk)}, follow=True)

    assert f"The secret …{old.last_four} was retired." in answer.content.decode()
    assert live_secrets(two) == [new]
    event = SecurityEvent.objects.get(event=EventType.SECRET_RETIRED)
    assert (event.actor, event.address) == ("operator", "127.0.0.1")
    assert LogEntry.objects.get().object_id == str(two.pk)


def test_if_the_secret_that_is_left_ends_as_well_it_is_said(operator, two):
    new, old = live_secrets(two)

    answer = operator.post(url(PAGE, two.pk), {"confirmed": "yes", "secret": str(new.pk)}, follow=True)

    assert f"The remaining secret …{old.last_four} ends on " in answer.content.decode()


@pytest.mark.parametrize("chosen", ["", "0", "none"])
def test_without_a_choice_it_asks_again(operator, two, chosen):
    answer = operator.post(url(PAGE, two.pk), {"confirmed": "yes", "secret": chosen})

    assert "Secret to retire" in answer.content.decode()
    assert len(live_secrets(two)) == 2


def test_a_secret_of_another_client_can_not_be_chosen(operator, two, machine):
    other = live_secrets(machine)[0]

    operator.post(url(PAGE, two.pk), {"confirmed": "yes", "secret": str(other.pk)})

    assert ClientSecret.objects.get(pk=other.pk).expires_at is None


def test_the_button_is_there_only_with_two_live_secrets_and_the_permission(operator, two):
    address = url(PAGE, two.pk)
    client_page = url("client_change", two.pk)
    assert address in operator.get(client_page).content.decode()
    ClientSecret.objects.filter(pk=live_secrets(two)[0].pk).update(expires_at=timezone.now())

    assert address not in operator.get(client_page).content.decode()
    assert "only one live secret" in operator.get(address, follow=True).content.decode()


def test_an_operator_who_may_only_change_clients_is_refused(two):
    browser = browser_of("view_client", "change_client")

    assert url(PAGE, two.pk) not in browser.get(url("client_change", two.pk)).content.decode()
    assert browser.get(url(PAGE, two.pk)).status_code == 403
    form = {"confirmed": "yes", "secret": str(live_secrets(two)[0].pk)}
    assert browser.post(url(PAGE, two.pk), form).status_code == 403
    assert len(live_secrets(two)) == 2


def test_an_unavailable_database_is_reported(operator, two, monkeypatch):
    monkeypatch.setattr(page_module, "retire_client_secret", refuse)
    form = {"confirmed": "yes", "secret": str(live_secrets(two)[0].pk)}

    answer = operator.post(url(PAGE, two.pk), form, follow=True)

    assert "The change may have been made all the same" in answer.content.decode()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("outcome", "message"),
    [(OnlySecret, "it is the only live secret by now"), (None, "The secret had already ended")],
)
def test_what_another_operator_did_meanwhile_is_said(operator, two, monkeypatch, outcome, message):
    def retire(*arguments, **options):
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(page_module, "retire_client_secret", retire)
    chosen = live_secrets(two)[1]

    answer = operator.post(url(PAGE, two.pk), {"confirmed": "yes", "secret": str(chosen.pk)}, follow=True)

    assert message in answer.content.decode()
