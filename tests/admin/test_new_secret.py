from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.test import Client as Browser

from django_ciam_token.models import Client, ClientSecret
from tests.admin.new_clients import SECRET, add_client, form_of_client
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory
from tests.operators import url

pytestmark = pytest.mark.django_db


def test_a_new_clients_secret_is_shown_once_and_works(operator):
    page = add_client(operator).content.decode()

    [secret] = set(SECRET.findall(page))
    form = {"grant_type": "refresh_token", "client_id": "portal", "refresh_token": "x"}
    assert post_form({**form, "client_secret": secret}).json() == {"error": "invalid_grant"}
    client = Client.objects.get()
    again = operator.get(url("client_new_secret", client.pk)).content.decode()
    assert secret not in again
    assert "rotate_client_secret portal" in again


def test_the_page_with_the_secret_is_not_cached(operator):
    response = add_client(operator)

    assert "no-store" in response["Cache-Control"]


def test_the_secret_is_encrypted_in_the_session_until_it_is_shown(operator, traces):
    form = form_of_client() | {"is_active": "on"}
    operator.post(url("client_add"), form)

    [secret] = [value for value in traces.secrets if value.startswith("ciam_cs_")]
    [session] = Session.objects.all()
    assert secret not in str(session.get_decoded())
    assert secret in operator.get(url("client_new_secret", Client.objects.get().pk)).content.decode()
    assert "django_ciam_token_new_secret" not in Session.objects.get().get_decoded()


def test_a_secret_is_not_shown_on_another_clients_page_nor_after_a_while(operator, monkeypatch):
    other = ClientFactory()
    operator.post(url("client_add"), form_of_client())
    assert not SECRET.search(operator.get(url("client_new_secret", other.pk)).content.decode())

    operator.post(url("client_add"), form_of_client(client_id="second"))
    monkeypatch.setattr("django_ciam_token.admin.new_secret.SHOWN_WITHIN", -1)
    second = Client.objects.get(client_id="second")
    assert not SECRET.search(operator.get(url("client_new_secret", second.pk)).content.decode())


def test_a_public_client_has_no_secret_to_show(operator):
    page = add_client(operator, application_type="spa")

    client = Client.objects.get()
    assert page.redirect_chain[-1][0] == url("client_new_secret", client.pk)
    assert "has none. It needs only its client_id." in page.content.decode()
    assert client.client_id in page.content.decode()
    assert not ClientSecret.objects.exists()


def test_an_operator_who_may_only_add_clients_sees_the_new_secret():
    clerk = UserFactory(is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="add_client"))
    browser = Browser()
    browser.force_login(clerk)

    assert SECRET.search(add_client(browser).content.decode())
