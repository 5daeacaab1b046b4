from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import Client, ClientSecret, RefreshToken, SecurityEvent, SigningKey
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db

SECRET = re.compile(r"ciam_cs_[\w-]{43}")


def url(model, page, *args):
    return reverse(f"admin:django_ciam_token_{model}_{page}", args=args)


def new_client(**fields):
    return {"name": "Portal", "application_type": "web", "client_id": "portal", "scope": "openid"} | fields


def add(browser, **fields):
    form = new_client(**fields) | {"is_active": "on", "refresh_tokens_enabled": "on"}
    return browser.post(url("client", "add"), form, follow=True)


def test_a_new_clients_secret_is_shown_once_and_works(operator):
    page = add(operator).content.decode()

    [secret] = set(SECRET.findall(page))
    form = {"grant_type": "refresh_token", "client_id": "portal", "refresh_token": "x"}
    assert post_form({**form, "client_secret": secret}).json() == {"error": "invalid_grant"}
    client = Client.objects.get()
    again = operator.get(url("client", "new_secret", client.pk)).content.decode()
    assert secret not in again
    assert "rotate_client_secret portal" in again


def test_the_page_with_the_secret_is_not_cached(operator):
    response = add(operator)

    assert "no-store" in response["Cache-Control"]


def test_the_secret_lies_encrypted_in_the_session_until_it_is_shown(operator, traces):
    form = new_client() | {"is_active": "on"}
    operator.post(url("client", "add"), form)

    [secret] = [value for value in traces.secrets if value.startswith("ciam_cs_")]
    [session] = Session.objects.all()
    assert secret not in str(session.get_decoded())
    assert secret in operator.get(url("client", "new_secret", Client.objects.get().pk)).content.decode()
    assert "django_ciam_token_new_secret" not in Session.objects.get().get_decoded()


def test_a_secret_is_not_shown_on_another_clients_page_nor_after_a_while(operator, monkeypatch):
    other = ClientFactory()
    operator.post(url("client", "add"), new_client())
    assert not SECRET.search(operator.get(url("client", "new_secret", other.pk)).content.decode())

    operator.post(url("client", "add"), new_client(client_id="second"))
    monkeypatch.setattr("django_ciam_token.admin.new_secret.SHOWN_WITHIN", -1)
    second = Client.objects.get(client_id="second")
    assert not SECRET.search(operator.get(url("client", "new_secret", second.pk)).content.decode())


def test_a_public_client_has_no_secret_to_show(operator):
    page = add(operator, application_type="spa")

    client = Client.objects.get()
    assert page.redirect_chain[-1][0] == url("client", "new_secret", client.pk)
    assert "has none: its client_id is all that it needs" in page.content.decode()
    assert client.client_id in page.content.decode()
    assert not ClientSecret.objects.exists()


def test_the_page_of_a_client_that_is_not_there_leads_back_to_the_list(operator):
    response = operator.get(url("client", "new_secret", 999_999))

    assert response["Location"] == url("client", "changelist")


def test_what_installed_applications_rely_on_can_not_be_changed(operator):
    client = ClientFactory(client_id="portal")
    form = new_client(name="New name", application_type="spa", client_id="other", scope="openid")

    operator.post(
        url("client", "change", client.pk),
        form | {"secrets-TOTAL_FORMS": "0", "secrets-INITIAL_FORMS": "0"},
    )

    client.refresh_from_db()
    assert (client.name, client.client_id, client.application_type) == ("New name", "portal", "web")
    assert ClientSecret.objects.count() == 1


def pages(client, session, key):
    event = SecurityEvent.objects.create(event="issued", client_id=client.client_id, session_id=session.pk)
    return [
        url("securityevent", "changelist"),
        url("securityevent", "changelist") + f"?q={client.client_id}",
        url("securityevent", "change", event.pk),
        url("client", "changelist"),
        url("client", "add"),
        url("client", "change", client.pk),
        url("client", "delete", client.pk),
        url("client", "history", client.pk),
        url("client", "changelist") + "?q=portal",
        url("refreshtoken", "changelist"),
        url("refreshtoken", "change", session.pk),
        url("signingkey", "changelist"),
        url("signingkey", "changelist") + f"?q={key.kid}",
        url("signingkey", "change", key.pk),
        url("signingkey", "rotate"),
        url("signingkey", "rotate_now"),
        url("client", "new_secret", client.pk),
        url("client", "replace_secret", client.pk),
        url("client", "end_sessions", client.pk),
        url("client", "switch", client.pk),
        url("refreshtoken", "find_by_token"),
        url("refreshtoken", "end", session.pk),
        url("refreshtoken", "sign_out", session.user_id),
        url("refreshtoken", "history", session.pk),
        reverse("admin:app_list", args=["django_ciam_token"]),
        reverse("admin:auth_user_change", args=[session.user_id]),
    ]


def test_no_page_shows_anything_secret(operator, web_client, first_tokens, user, traces):
    session, key = RefreshToken.objects.get(), SigningKey.objects.get()
    stored = ClientSecret.objects.get().secret_digest
    hidden = [
        *traces.secrets,
        stored,
        stored.partition("$")[2],
        bytes(session.secret_digest).hex(),
        session.session_auth_hash,
        key.encrypted_private_key,
    ]

    for page in pages(web_client, session, key):
        response = operator.get(page)

        assert response.status_code == 200, page
        text = response.content.decode()
        assert not any(secret in text for secret in hidden), page


@pytest.mark.parametrize("term", ["id", "id with spaces", "client", "user"])
def test_sessions_are_found(operator, user, web_client, first_tokens, term):
    issue_tokens(client=ClientFactory(client_id="another"), user=UserFactory(username="somebody"))
    session = RefreshToken.objects.get(user=user)
    terms = {
        "id": str(session.pk),
        "id with spaces": f" {session.pk} ",
        "client": web_client.client_id,
        "user": user.username,
    }

    page = operator.get(url("refreshtoken", "changelist"), {"q": terms[term]}).content.decode()

    assert page.count('class="field-') >= 1
    assert str(session.pk) in page
    other = RefreshToken.objects.exclude(pk=session.pk).get()
    assert str(other.pk) not in page


def test_sessions_and_keys_are_only_looked_at(operator, first_tokens):
    session, key = RefreshToken.objects.get(), SigningKey.objects.get()

    for model, row in (("refreshtoken", session), ("signingkey", key)):
        assert operator.get(url(model, "add")).status_code == 403
        assert operator.post(url(model, "change", row.pk), {}).status_code == 403
        assert "delete_selected" not in operator.get(url(model, "changelist")).content.decode()
    event = SecurityEvent.objects.create(event="issued")
    assert operator.post(url("signingkey", "delete", key.pk), {"post": "yes"}).status_code == 403
    assert operator.post(url("securityevent", "delete", event.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("what", ["user", "client"])
def test_a_user_or_client_is_deleted_together_with_the_sessions(
    operator, user, web_client, first_tokens, what
):
    page = reverse("admin:auth_user_delete", args=[user.pk])
    if what == "client":
        page = url("client", "delete", web_client.pk)

    response = operator.post(page, {"post": "yes"})

    assert response.status_code == 302
    assert not RefreshToken.objects.exists()


def test_who_may_only_add_clients_sees_the_new_secret():
    clerk = UserFactory(is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="add_client"))
    browser = Browser()
    browser.force_login(clerk)

    assert SECRET.search(add(browser).content.decode())


def test_who_may_only_view_is_offered_nothing_more(web_client, first_tokens):
    viewer = UserFactory(is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    browser = Browser()
    browser.force_login(viewer)

    for page in (url("client", "changelist"), url("client", "change", web_client.pk)):
        text = browser.get(page).content.decode()
        assert "addlink" not in text
        assert 'name="_save"' not in text
    response = browser.get(url("client", "new_secret", web_client.pk))
    assert response["Location"] == url("client", "changelist")


def test_the_list_of_sessions_makes_as_many_queries_for_ten_as_for_one(operator, web_client):
    def count():
        with CaptureQueriesContext(connection) as queries:
            assert operator.get(url("refreshtoken", "changelist")).status_code == 200
        return len(queries)

    issue_tokens(client=web_client, user=UserFactory())
    count()  # Content types and the like are cached by the first request.
    one = count()
    for _ in range(9):
        issue_tokens(client=web_client, user=UserFactory())

    assert count() == one
