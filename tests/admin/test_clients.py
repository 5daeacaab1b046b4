from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_ciam_token.admin import client_sessions
from django_ciam_token.api import issue_tokens
from django_ciam_token.models import Client, ClientSecret, RefreshToken
from django_ciam_token.monitoring import figures
from tests.admin.new_clients import SECRET, form_of_client
from tests.factories import ClientFactory, UserFactory
from tests.operators import browser_of, url

pytestmark = pytest.mark.django_db

LIST = "client_changelist"


def test_the_list_shows_live_sessions_and_the_age_of_secrets(operator, user):
    confidential, public = ClientFactory(name="Web"), ClientFactory(name="App", application_type="spa")
    for _ in range(2):
        issue_tokens(client=confidential, user=user)
    RefreshToken.objects.filter(pk=RefreshToken.objects.first().pk).update(revoked_at=timezone.now())
    ClientSecret.objects.update(created_at=timezone.now() - timedelta(days=21))

    page = operator.get(url(LIST)).content.decode()

    assert f'client__id__exact={confidential.pk}&amp;state=live">1</a>' in page
    assert f'client__id__exact={public.pk}&amp;state=live">0</a>' in page
    assert "3\xa0weeks" in page
    assert "no secret" in page
    assert f'data-ciam-copy="{public.client_id}"' in page


def test_figures_that_are_estimates_say_so(operator, user, monkeypatch):
    monkeypatch.setattr(figures, "EXACT_UP_TO", 1)
    busy, idle = ClientFactory(), ClientFactory()
    for _ in range(3):
        issue_tokens(client=busy, user=user)

    page = operator.get(url(LIST)).content.decode()

    assert f'client__id__exact={idle.pk}&amp;state=live">few</a>' in page
    assert "about " in page


@pytest.mark.parametrize("number", [1, 10])
def test_the_list_makes_as_many_statements_for_ten_clients_as_for_one(operator, user, number):
    for _ in range(number):
        issue_tokens(client=ClientFactory(), user=user)
    operator.get(url(LIST))

    with CaptureQueriesContext(connection) as queries:
        operator.get(url(LIST))

    assert len(queries) == 7


def test_the_page_of_a_client_shows_its_secrets_and_newest_sessions(operator, user, monkeypatch):
    client = ClientFactory()
    for _ in range(3):
        issue_tokens(client=client, user=user)
    monkeypatch.setattr(client_sessions, "_MOST_COUNTED", 2)

    page = operator.get(url("client_change", client.pk)).content.decode()

    assert ClientSecret.objects.get().last_four in page
    assert "Last used" in page
    assert "More than 2 that have not ended" in page
    assert page.count(reverse("admin:django_ciam_token_refreshtoken_changelist")[:-1]) > 3
    idle = operator.get(url("client_change", ClientFactory().pk)).content.decode()
    assert "This client has no sessions." in idle


def test_sessions_of_a_client_are_hidden_without_permission(user):
    client = ClientFactory()
    issue_tokens(client=client, user=user)

    page = browser_of("view_client").get(url("client_change", client.pk)).content.decode()

    assert "Newest sessions" not in page
    assert str(RefreshToken.objects.get().pk) not in page


def test_a_missing_client_redirects_or_is_not_found(operator):
    assert operator.get(url("client_change", 999_999)).status_code == 302
    for name in ("client_replace_secret", "client_end_sessions", "client_switch"):
        assert operator.get(url(name, 999_999)).status_code == 404


def test_what_installed_applications_rely_on_can_not_be_changed(operator):
    client = ClientFactory(client_id="portal")
    form = form_of_client(name="New name", application_type="spa", client_id="other", scope="openid")

    operator.post(
        url("client_change", client.pk),
        form | {"secrets-TOTAL_FORMS": "0", "secrets-INITIAL_FORMS": "0"},
    )

    client.refresh_from_db()
    assert (client.name, client.client_id, client.application_type) == ("New name", "portal", "web")
    assert ClientSecret.objects.count() == 1


def fields_of(page):
    """What a browser sends for a page on which nothing was changed."""
    sent = {"secrets-TOTAL_FORMS": "0", "secrets-INITIAL_FORMS": "0"}
    for field in page.context["adminform"].form:
        for name, value in ((field.html_name, field.value()), (field.html_initial_name, field.initial)):
            if value not in (None, False):
                sent[name] = "on" if value is True and name == field.html_name else value
    return sent


def test_a_form_from_before_a_client_was_disabled_does_not_enable_it(operator, web_client):
    page = url("client_change", web_client.pk)
    shown = operator.get(page)
    Client.objects.update(is_active=False, scope="openid", refresh_token_lifetime=timedelta(hours=1))

    operator.post(page, {**fields_of(shown), "name": "Renamed", "is_active": "on"})

    client = Client.objects.get()
    assert (client.name, client.is_active, client.scope) == ("Renamed", False, "openid")
    assert client.refresh_token_lifetime == timedelta(hours=1)


def test_what_the_operator_changes_in_a_form_is_saved(operator, web_client):
    page = url("client_change", web_client.pk)

    changes = {"scope": ["openid"], "may_introspect": "on", "session_lifetime": "3600"}
    operator.post(page, {**fields_of(operator.get(page)), **changes})

    client = Client.objects.get()
    assert (client.scope, client.may_introspect) == ("openid", True)
    assert client.session_lifetime == timedelta(hours=1)


def test_an_operator_who_may_only_view_clients_is_refused_everything_else(viewer, web_client):
    page = viewer.get(url("client_change", web_client.pk)).content.decode()
    for name in ("client_replace_secret", "client_end_sessions", "client_switch"):
        address = url(name, web_client.pk)
        assert address not in page
        assert viewer.get(address).status_code == 403
        assert viewer.post(address, {"confirmed": "yes", "switch": "off"}).status_code == 403
    assert ClientSecret.objects.count() == 1


def test_each_permission_is_enough_for_its_own_action(web_client):
    browser = browser_of("view_client", "rotate_client_secret", "bulk_revoke_refreshtoken")

    page = browser.get(url("client_change", web_client.pk)).content.decode()

    assert url("client_replace_secret", web_client.pk) in page
    assert url("client_end_sessions", web_client.pk) in page
    assert url("client_switch", web_client.pk) not in page
    shown = browser.post(
        url("client_replace_secret", web_client.pk), {"confirmed": "yes", "overlap": "0"}, follow=True
    )
    assert SECRET.search(shown.content.decode())


def test_pages_that_change_a_client_are_protected_against_forged_requests(web_client):
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(UserFactory(is_staff=True, is_superuser=True))
    for name in ("client_replace_secret", "client_end_sessions", "client_switch"):
        form = {"confirmed": "yes", "overlap": "0", "switch": "off"}
        assert browser.post(url(name, web_client.pk), form).status_code == 403
