"""What users allowed applications of other people, seen and withdrawn by operators."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_ciam_token.admin import consents
from django_ciam_token.api import issue_tokens
from django_ciam_token.models import Client, Consent, SecurityEvent
from tests.factories import ClientFactory, UserFactory, live_ids, make_session
from tests.operators import browser_of, refuse, url

pytestmark = pytest.mark.django_db

LIST = "consent_changelist"


@pytest.fixture
def consent(user):
    client = ClientFactory(name="Partner", client_id="partner", asks_consent=True)
    return Consent.objects.create(client=client, user=user, scope="openid email")


@pytest.fixture
def other():
    client = ClientFactory(name="Elsewhere", client_id="elsewhere", asks_consent=True)
    return Consent.objects.create(client=client, user=UserFactory(username="bertha"), scope="openid")


def shown(page):
    return [consent.pk for consent in page.context["cl"].result_list]


def test_the_list_is_searched_and_filtered(operator, user, consent, other):
    assert shown(operator.get(url(LIST))) == [other.pk, consent.pk]
    for term, found in ((user.username, consent), ("bert", other), ("partner", consent), ("Elsew", other)):
        assert shown(operator.get(url(LIST), {"q": term})) == [found.pk], term
    assert shown(operator.get(url(LIST), {"q": "nobody"})) == []
    assert shown(operator.get(url(LIST), {"client__id__exact": consent.client_id})) == [consent.pk]
    page = operator.get(url(LIST)).content.decode()
    assert "openid email" in page
    assert user.username in page


@pytest.mark.parametrize("number", [1, 10])
def test_the_list_makes_as_many_statements_for_ten_as_for_one(operator, consent, number):
    for _ in range(number - 1):
        Consent.objects.create(client=consent.client, user=UserFactory(), scope="openid")
    operator.get(url(LIST))

    with CaptureQueriesContext(connection) as queries:
        operator.get(url(LIST))

    assert len(queries) == 5


@pytest.mark.django_db(transaction=True)
def test_one_is_withdrawn_after_confirmation(user, consent):
    browser = browser_of("view_consent", "withdraw_consent")
    make_session(consent.client, user)
    page = browser.get(url("consent_change", consent.pk)).content.decode()
    address = url("consent_withdraw", consent.pk)
    assert address in page
    assert url("consent_delete", consent.pk) not in page

    asked = browser.get(address).content.decode()
    assert f"Withdraw what {user.username} allowed Partner?" in asked
    assert "1 live session ends." in asked
    assert Consent.objects.exists()
    response = browser.post(address, {"confirmed": "yes"}, follow=True)

    assert "1 consent was withdrawn." in response.content.decode()
    assert not Consent.objects.exists()
    assert live_ids() == set()
    assert LogEntry.objects.get().change_message == "Withdrawn."
    event = SecurityEvent.objects.get(event="consent_withdrawn")
    assert (event.actor, event.address, event.user_id) == ("operator", "127.0.0.1", str(user.pk))


def test_selected_ones_are_withdrawn_after_confirmation(operator, user, consent, other):
    kept = Consent.objects.create(client=other.client, user=user, scope="openid")
    form = {"action": "withdraw", "_selected_action": [consent.pk, other.pk]}
    issue_tokens(client=other.client, user=other.user)
    # Another application, which this user allowed nothing.
    issue_tokens(client=consent.client, user=other.user)

    question = operator.post(url(LIST), form).content.decode()
    assert "Withdraw 2 consents" in question
    assert "Live sessions: 1. Users: 1." in question
    assert Consent.objects.count() == 3
    done = operator.post(url(LIST), {**form, "confirmed": "yes"}, follow=True)

    assert "2 consents were withdrawn." in done.content.decode()
    assert list(Consent.objects.all()) == [kept]
    assert LogEntry.objects.count() == 2


def test_a_database_that_refuses_is_reported(operator, consent, monkeypatch):
    monkeypatch.setattr(consents, "withdraw_consent", refuse)

    page = operator.post(url("consent_withdraw", consent.pk), {"confirmed": "yes"}, follow=True)

    assert "temporarily unavailable" in page.content.decode()
    assert not LogEntry.objects.exists()


def test_one_that_somebody_else_withdrew_is_not_counted(operator, consent, monkeypatch):
    monkeypatch.setattr(consents, "withdraw_consent", lambda **_: False)

    page = operator.post(url("consent_withdraw", consent.pk), {"confirmed": "yes"}, follow=True)

    assert "withdrawn." not in page.content.decode()


def test_a_site_without_pages_of_users_links_to_none(operator, consent, monkeypatch):
    monkeypatch.setattr(consents, "page_of_user", lambda request, user, site: None)

    page = operator.get(url("consent_change", consent.pk))

    assert [name for _address, name in page.context["tools"]] == ["Withdraw"]


def test_who_may_only_view_can_not_withdraw(consent):
    browser = browser_of("view_consent")

    page = browser.get(url("consent_change", consent.pk)).content.decode()

    assert url("consent_withdraw", consent.pk) not in page
    assert browser.post(url("consent_withdraw", consent.pk), {"confirmed": "yes"}).status_code == 403
    form = {"action": "withdraw", "_selected_action": [consent.pk], "confirmed": "yes"}
    browser.post(url(LIST), form)
    assert Consent.objects.exists()


def test_none_is_added_changed_or_deleted_here(operator, consent):
    assert operator.get(url("consent_add")).status_code == 403
    assert operator.post(url("consent_delete", consent.pk), {"post": "yes"}).status_code == 403
    operator.post(url(LIST), {"action": "delete_selected", "_selected_action": [consent.pk], "post": "yes"})
    operator.post(url("consent_change", consent.pk), {"scope": "openid profile"})
    assert Consent.objects.get().scope == "openid email"


def test_a_missing_one_redirects_or_is_not_found(operator):
    assert operator.get(url("consent_change", 999_999)).status_code == 302
    assert operator.get(url("consent_withdraw", 999_999)).status_code == 404


def test_a_user_or_a_client_is_deleted_with_their_consents(user, consent, other):
    browser = browser_of("delete_client", "view_client", "delete_user", "view_user")

    browser.post(url("client_delete", consent.client.pk), {"post": "yes"})
    browser.post(reverse("admin:auth_user_delete", args=[other.user.pk]), {"post": "yes"})

    assert not Client.objects.filter(client_id="partner").exists()
    assert not Consent.objects.exists()


def test_the_history_of_one_can_be_read(operator, consent):
    assert operator.get(url("consent_history", consent.pk)).status_code == 200


def test_the_page_of_a_user_lists_their_consents(operator, user, consent, other):
    page = operator.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()

    assert f'<a href="{url("consent_change", consent.pk)}">Partner: openid email</a>' in page
    assert url("consent_change", other.pk) not in page
    viewer = browser_of_another("view_user", "change_user")
    assert "Partner" not in viewer.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()


def browser_of_another(*permissions):
    from django.contrib.auth.models import Permission
    from django.test import Client as Browser

    colleague = UserFactory(is_staff=True)
    colleague.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    browser = Browser()
    browser.force_login(colleague)
    return browser
