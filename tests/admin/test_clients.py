from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.hashers import make_password
from django.db import OperationalError, connection
from django.db.models import PROTECT
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_ciam_token.admin import clients, new_secret
from django_ciam_token.api import issue_tokens
from django_ciam_token.clients import authentication, secrets
from django_ciam_token.clients.methods import METHODS, Credentials
from django_ciam_token.concealed import Concealed
from django_ciam_token.models import Client, ClientSecret, EventType, RefreshToken, SecurityEvent
from django_ciam_token.monitoring import figures
from tests.admin.test_base import SECRET
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory
from tests.operators import browser_of, refuse, url

pytestmark = pytest.mark.django_db

LIST = "client_changelist"


def add(browser, **fields):
    form = {"name": "Portal", "application_type": "web", "client_id": "portal", "scope": ["openid"]}
    return browser.post(
        url("client_add"), {**form, "is_active": "on", "refresh_tokens_enabled": "on", **fields}, follow=True
    )


def fields_of(page):
    """What a browser sends of a page in which nothing was changed."""
    sent = {"secrets-TOTAL_FORMS": "0", "secrets-INITIAL_FORMS": "0"}
    for field in page.context["adminform"].form:
        for name, value in ((field.html_name, field.value()), (field.html_initial_name, field.initial)):
            if value not in (None, False):
                sent[name] = "on" if value is True and name == field.html_name else value
    return sent


# --- the list ----------------------------------------------------------------------------------------


def test_the_list_tells_live_sessions_and_the_age_of_secrets(operator, user):
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


# --- adding and changing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("application_type", "idle", "session"),
    [
        ("web", None, None),
        ("spa", None, None),
        ("mobile", timedelta(days=30), timedelta(days=180)),
        ("m2m", timedelta(days=30), timedelta(days=365)),
    ],
)
def test_a_new_client_is_given_the_lifetimes_of_its_type(operator, application_type, idle, session):
    add(operator, application_type=application_type)

    client = Client.objects.get()
    assert (client.refresh_token_lifetime, client.session_lifetime) == (idle, session)


def test_what_the_form_says_goes_before_what_the_type_suggests(operator):
    add(operator, application_type="mobile", session_lifetime="3600")

    assert Client.objects.get().session_lifetime == timedelta(hours=1)


def test_scopes_are_ticked(operator):
    add(operator, scope=["openid", "email"])

    client = Client.objects.get()
    assert client.scope == "openid email"
    page = operator.get(url("client_change", client.pk)).content.decode()
    assert page.count("checked") == 3  # Two scopes, and refresh tokens enabled.
    errors = add(operator, client_id="other", scope=["nonsense"]).context["adminform"].form.errors
    assert "scope" in errors
    assert "scope" in add(operator, client_id="other", scope=[]).context["adminform"].form.errors


def test_a_scope_that_the_site_has_given_up_can_be_taken_away(operator, settings):
    client = ClientFactory(scope="openid email")
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "SCOPES": {"openid": "Sign you in"},
        "SESSION_LIFETIME": None,
    }

    page = operator.get(url("client_change", client.pk)).content.decode()

    assert 'value="email"' in page
    assert "no limit" in page


def test_the_page_of_a_client_shows_its_secrets_and_newest_sessions(operator, user, monkeypatch):
    client = ClientFactory()
    for _ in range(3):
        issue_tokens(client=client, user=user)
    monkeypatch.setattr(clients, "_MOST_COUNTED", 2)

    page = operator.get(url("client_change", client.pk)).content.decode()

    assert ClientSecret.objects.get().last_four in page
    assert "Last used" in page
    assert "more than 2 live" in page
    assert page.count(reverse("admin:django_ciam_token_refreshtoken_changelist")[:-1]) > 3
    assert "It has no sessions." in operator.get(url("client_change", ClientFactory().pk)).content.decode()


def test_who_may_not_see_sessions_does_not_see_them_with_the_client(user):
    client = ClientFactory()
    issue_tokens(client=client, user=user)

    page = browser_of("view_client").get(url("client_change", client.pk)).content.decode()

    assert "Newest sessions" not in page
    assert str(RefreshToken.objects.get().pk) not in page


def test_what_is_not_there_leads_back_or_is_not_found(operator):
    assert operator.get(url("client_change", 999_999)).status_code == 302
    for name in ("client_replace_secret", "client_end_sessions", "client_switch"):
        assert operator.get(url(name, 999_999)).status_code == 404


# --- secrets -----------------------------------------------------------------------------------------


def test_a_secret_is_replaced_after_a_question_and_the_old_one_works_on(
    operator, django_capture_on_commit_callbacks
):
    client = ClientFactory()
    page = url("client_replace_secret", client.pk)
    assert "works on for" in operator.get(page).content.decode()
    assert ClientSecret.objects.count() == 1

    with django_capture_on_commit_callbacks(execute=True):
        shown = operator.post(page, {"confirmed": "yes", "overlap": "3600"}, follow=True).content.decode()

    event = SecurityEvent.objects.get(event=EventType.SECRET_ROTATED)
    assert (event.actor, event.client_id) == ("operator", client.client_id)
    [new] = set(SECRET.findall(shown))
    assert "The secret before it works until" in shown
    form = {"grant_type": "refresh_token", "client_id": client.client_id, "refresh_token": "x"}
    for secret in (client.plain_secret, new):
        assert post_form({**form, "client_secret": secret}).json() == {"error": "invalid_grant"}
    old = ClientSecret.objects.order_by("pk").first()
    assert old.expires_at - timezone.now() < timedelta(hours=1)
    assert "new secret" in LogEntry.objects.get().get_change_message()
    question = operator.get(page).content.decode()
    assert f"…{old.last_four} ends now: there are never more than two" in question
    ClientSecret.objects.exclude(pk=old.pk).update(last_used_at=None)
    question = operator.get(page).content.decode()
    assert f"…{old.last_four} works until" in question
    assert f"…{new[-4:]} ends now" in question


def test_an_overlap_that_is_not_offered_is_asked_for_again(operator):
    client = ClientFactory()

    operator.post(url("client_replace_secret", client.pk), {"confirmed": "yes", "overlap": "99"})

    assert ClientSecret.objects.count() == 1


def test_the_usual_overlap_of_the_site_is_offered(operator, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "CLIENT_SECRET_OVERLAP": 7_200}

    page = operator.get(url("client_replace_secret", ClientFactory().pk)).content.decode()

    assert '<option value="7200" selected>02:00:00</option>' in page


def test_a_public_client_is_warned_before_it_gets_a_secret(operator, spa_client):
    page = operator.get(url("client_replace_secret", spa_client.pk)).content.decode()

    assert "Installed copies without it are refused" in page


def test_a_database_that_refuses_replaces_nothing(operator, monkeypatch):
    client = ClientFactory()
    monkeypatch.setattr(clients, "rotate_client_secret", refuse)

    response = operator.post(
        url("client_replace_secret", client.pk), {"confirmed": "yes", "overlap": "0"}, follow=True
    )

    assert "nobody has seen" in response.content.decode()
    assert not LogEntry.objects.exists()


def test_a_form_from_before_a_client_was_switched_off_does_not_switch_it_on(operator, web_client):
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


def test_no_more_are_selected_than_a_form_can_have(operator, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 22
    selected = [ClientFactory() for _ in range(3)]
    form = {"action": "disable", "_selected_action": [client.pk for client in selected]}

    page = operator.post(url(LIST), form).content.decode()

    assert page.count('name="_selected_action"') == 2
    assert "Do it again for the rest." in page


@pytest.mark.parametrize("secret", [None, "ciam_cs_x"])
def test_what_to_paste_names_everything_that_a_library_needs(secret, web_client):
    for snippet in new_secret.snippets(web_client, secret):
        assert web_client.client_id in snippet.text
        assert ("ciam_cs_x" in snippet.text) == (secret is not None)
        assert "ciam_cs_x" not in repr(snippet)


def test_what_to_paste_needs_no_endpoints_on_this_host(web_client, settings):
    settings.ROOT_URLCONF = "tests.admin_urls"

    assert "https://id.example.com/oauth2/token" in new_secret.snippets(web_client, None)[0].text


# --- ending sessions, switching off, deleting --------------------------------------------------------


def test_all_sessions_of_a_client_are_ended_after_a_question(operator, web_client, user):
    issue_tokens(client=web_client, user=user)
    issue_tokens(client=ClientFactory(), user=user)
    page = url("client_end_sessions", web_client.pk)
    assert "of every user" in operator.get(page).content.decode()

    operator.post(page, {"confirmed": "yes"})

    assert RefreshToken.objects.get(revoked_at=None).client != web_client
    assert "1 session was ended." in LogEntry.objects.get().get_change_message()


def test_what_a_request_has_no_time_for_is_said(operator, web_client, user, monkeypatch):
    monkeypatch.setattr(clients, "revoke_sessions", lambda *_, **__: 0)
    issue_tokens(client=web_client, user=user)

    page = operator.post(url("client_end_sessions", web_client.pk), {"confirmed": "yes"}, follow=True)

    assert "There are more." in page.content.decode()


def test_a_database_that_refuses_while_ending_is_said(operator, web_client, monkeypatch):
    monkeypatch.setattr(clients, "revoke_sessions", refuse)

    page = operator.post(url("client_end_sessions", web_client.pk), {"confirmed": "yes"}, follow=True)

    assert "before all was done" in page.content.decode()


def test_a_client_is_switched_off_and_on_after_a_question(operator, web_client):
    page = url("client_switch", web_client.pk)
    for asked, is_active in (("off", False), ("on", True)):
        assert f'name="switch" value="{asked}"' in operator.get(page).content.decode()
        operator.post(page, {"confirmed": "yes", "switch": asked})
        web_client.refresh_from_db()
        assert web_client.is_active is is_active
    operator.post(page, {"confirmed": "yes", "switch": "on"})  # Twice: nothing to write or log.
    operator.post(page, {"confirmed": "yes"})  # Neither: asked again.
    assert [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")] == [
        "Disabled.",
        "Enabled.",
    ]


@pytest.mark.parametrize(("action", "is_active"), [("disable", False), ("enable", True)])
def test_selected_clients_are_switched_after_a_question(operator, action, is_active):
    selected = [ClientFactory(is_active=not is_active) for _ in range(2)]
    form = {"action": action, "_selected_action": [client.pk for client in selected]}
    other = ClientFactory()

    assert selected[0].name in operator.post(url(LIST), form).content.decode()
    assert Client.objects.filter(is_active=not is_active).exists()
    operator.post(url(LIST), {**form, "confirmed": "yes"})

    assert Client.objects.filter(is_active=is_active).exclude(pk=other.pk).count() == 2
    assert LogEntry.objects.count() == 2


def test_a_client_with_too_many_sessions_is_not_deleted_at_once(operator, web_client, user, monkeypatch):
    monkeypatch.setattr(clients, "_MOST_DELETED_ALONG", 0)
    issue_tokens(client=web_client, user=user)
    page = url("client_delete", web_client.pk)

    assert "Too many sessions" in operator.get(page).content.decode()
    operator.post(page, {"post": "yes"})

    assert Client.objects.exists()


def test_a_client_that_the_site_protects_is_not_deleted(operator, web_client, monkeypatch):
    """A model of the site may refer to clients; here it is one of ours."""
    key = ClientSecret._meta.get_field("client").remote_field
    monkeypatch.setattr(key, "on_delete", PROTECT)

    page = operator.post(url("client_delete", web_client.pk), {"post": "yes"})

    assert "Cannot delete client" in page.content.decode()
    assert Client.objects.exists()


def test_a_switch_that_the_database_refuses_is_said(operator, web_client, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(LogEntry.objects, "log_actions", fail)

    form = {"confirmed": "yes", "switch": "off"}
    page = operator.post(url("client_switch", web_client.pk), form, follow=True)

    assert "it may have happened all the same" in page.content.decode()
    web_client.refresh_from_db()
    assert web_client.is_active


def test_deleting_a_client_with_sessions_needs_the_permission_to_delete_them(web_client, user):
    browser = browser_of("view_client", "delete_client")
    assert "Are you sure" in browser.get(url("client_delete", web_client.pk)).content.decode()
    issue_tokens(client=web_client, user=user)

    browser.post(url("client_delete", web_client.pk), {"post": "yes"})

    assert Client.objects.exists()


def test_who_may_only_view_clients_is_refused_everything(viewer, web_client):
    page = viewer.get(url("client_change", web_client.pk)).content.decode()
    for name in ("client_replace_secret", "client_end_sessions", "client_switch"):
        address = url(name, web_client.pk)
        assert address not in page
        assert viewer.get(address).status_code == 403
        assert viewer.post(address, {"confirmed": "yes", "switch": "off"}).status_code == 403
    assert ClientSecret.objects.count() == 1


def test_each_permission_alone_is_enough_for_what_it_names(web_client):
    browser = browser_of("view_client", "rotate_client_secret", "revoke_refreshtoken")

    page = browser.get(url("client_change", web_client.pk)).content.decode()

    assert url("client_replace_secret", web_client.pk) in page
    assert url("client_end_sessions", web_client.pk) in page
    assert url("client_switch", web_client.pk) not in page
    shown = browser.post(
        url("client_replace_secret", web_client.pk), {"confirmed": "yes", "overlap": "0"}, follow=True
    )
    assert SECRET.search(shown.content.decode())


def test_what_changes_a_client_is_protected_against_forged_requests(web_client):
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(UserFactory(is_staff=True, is_superuser=True))
    for name in ("client_replace_secret", "client_end_sessions", "client_switch"):
        form = {"confirmed": "yes", "overlap": "0", "switch": "off"}
        assert browser.post(url(name, web_client.pk), form).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_said_with_atomic_requests_as_well(web_client, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    in_transaction = []

    def look(*_, **__):
        in_transaction.append(connection.in_atomic_block)
        refuse()

    monkeypatch.setattr(clients, "revoke_sessions", look)

    page = browser_of(is_superuser=True).post(url("client_end_sessions", web_client.pk), {"confirmed": "yes"})

    assert page.status_code == 302
    assert in_transaction == [False]


# --- the last use of a secret ------------------------------------------------------------------------


def authenticate(client, **fields):
    given = {"client_id": client.client_id, "secret": client.plain_secret, **fields}
    method = METHODS[2] if given["secret"] is None else METHODS[1]
    given["secret"] = given["secret"] and Concealed(given["secret"])
    credentials = Credentials(method, **given)
    return authentication.authenticate(credentials, now=timezone.now()).client


def test_the_use_of_a_secret_is_noted_once_an_hour(web_client):
    ClientSecret.objects.update(last_used_at=None)
    for age, statements in ((None, 1), (timedelta(minutes=59), 0), (timedelta(hours=1), 1)):
        if age is not None:
            ClientSecret.objects.update(last_used_at=timezone.now() - age)
        with CaptureQueriesContext(connection) as queries:
            authenticate(web_client)
        assert sum(query["sql"].startswith("UPDATE") for query in queries) == statements
    assert timezone.now() - ClientSecret.objects.get().last_used_at < timedelta(minutes=1)


def test_only_the_secret_that_was_used_is_noted(operator, web_client):
    clients.rotate_client_secret(web_client, overlap=timedelta(hours=1))
    ClientSecret.objects.update(last_used_at=None)

    authenticate(web_client)

    used = ClientSecret.objects.exclude(last_used_at=None).get()
    assert used.last_four == web_client.plain_secret[-4:]


def test_an_imported_secret_is_noted_only_if_it_was_the_one(web_client):
    imported = secrets.import_client_secret(web_client, make_password("brought along"))
    drawn = secrets.rotate_client_secret(web_client)
    ClientSecret.objects.update(last_used_at=None)

    authenticate(web_client, secret=drawn)
    imported.refresh_from_db()
    assert imported.last_used_at is None

    authenticate(web_client, secret="brought along")
    imported.refresh_from_db()
    assert imported.last_used_at is not None


def test_a_public_client_and_a_wrong_secret_leave_no_trace(spa_client, web_client):
    ClientSecret.objects.update(last_used_at=None)
    authenticate(spa_client, secret=None)
    with pytest.raises(authentication.InvalidClient):
        authenticate(web_client, secret="wrong")

    assert ClientSecret.objects.get().last_used_at is None


def test_authentication_succeeds_even_if_the_use_can_not_be_noted(web_client, monkeypatch, caplog):
    ClientSecret.objects.update(last_used_at=None)

    def fail(*args, **kwargs):
        raise authentication.UNAVAILABLE[0]("disk full")

    monkeypatch.setattr("django.db.models.QuerySet.update", fail)

    assert authenticate(web_client) == web_client
    assert "could not be noted" in caplog.text
