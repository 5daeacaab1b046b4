from __future__ import annotations

from datetime import timedelta

import pytest

from django_ciam_token.models import Client
from tests.admin.new_clients import add_client
from tests.admin.test_clients import fields_of
from tests.factories import ClientFactory
from tests.operators import refuse, url

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("application_type", "idle", "session"),
    [
        ("web", None, None),
        ("spa", None, None),
        ("mobile", timedelta(days=30), timedelta(days=180)),
        ("m2m", timedelta(days=30), timedelta(days=365)),
    ],
)
def test_a_new_client_gets_the_lifetimes_of_its_type(operator, application_type, idle, session):
    add_client(operator, application_type=application_type)

    client = Client.objects.get()
    assert (client.refresh_token_lifetime, client.session_lifetime) == (idle, session)


def test_a_lifetime_in_the_form_overrides_that_of_the_type(operator):
    add_client(operator, application_type="mobile", session_lifetime="3600")

    assert Client.objects.get().session_lifetime == timedelta(hours=1)


def test_scopes_are_ticked(operator):
    add_client(operator, scope=["openid", "email"])

    client = Client.objects.get()
    assert client.scope == "openid email"
    page = operator.get(url("client_change", client.pk)).content.decode()
    assert page.count("checked") == 3  # Two scopes, and refresh tokens enabled.
    errors = add_client(operator, client_id="other", scope=["nonsense"]).context["adminform"].form.errors
    assert "scope" in errors
    assert "scope" in add_client(operator, client_id="other", scope=[]).context["adminform"].form.errors


def test_a_scope_that_the_site_no_longer_defines_can_be_removed(operator, settings):
    client = ClientFactory(scope="openid email")
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "SCOPES": {"openid": "Sign you in"},
        "SESSION_LIFETIME": None,
    }

    page = operator.get(url("client_change", client.pk)).content.decode()

    assert 'value="email"' in page
    assert "no limit" in page


def errors_of(response, field):
    return [message.split()[0] for message in response.context["adminform"].form.errors[field]]


def test_addresses_are_checked_by_type_with_a_message_for_each_wrong_line(operator):
    lines = ["https://a.example/", "ftp://b.example/", "com.example.app:/", "http://c.example/"]

    page = add_client(operator, application_type="spa", redirect_uris="\r\n".join(lines))

    assert sorted(errors_of(page, "redirect_uris")) == sorted(lines[1:])
    assert not Client.objects.exists()
    page = add_client(operator, application_type="m2m", redirect_uris="https://a.example/ https://b.example/")
    assert errors_of(page, "redirect_uris") == ["A"]
    page = add_client(operator, application_type="spa", may_use_client_credentials="on")
    assert errors_of(page, "may_use_client_credentials") == ["Only"]


def test_addresses_are_stored_one_a_line(operator):
    add_client(operator, redirect_uris=" https://a.example/  https://b.example/\r\n", requires_pkce="on")

    client = Client.objects.get()
    assert client.redirect_uris == "https://a.example/\nhttps://b.example/"
    assert client.requires_pkce


def test_the_form_says_what_each_type_enters(operator):
    page = operator.get(url("client_add")).content.decode()

    for application_type in ("web", "spa", "mobile", "m2m"):
        assert f'class="ciam-hint" data-ciam-type="{application_type}"' in page
    assert "data-ciam-lines=" in page
    existing = ClientFactory(application_type="mobile")
    page = operator.get(url("client_change", existing.pk)).content.decode()
    assert 'data-ciam-type="mobile"' in page
    assert 'data-ciam-type="web"' not in page


def fields_shown(operator, client):
    page = operator.get(url("client_change", client.pk))
    fieldsets = page.context["adminform"]
    return {fieldset.name: [name for line in fieldset for name in line.fields] for fieldset in fieldsets}


def test_what_decides_is_not_hidden(operator):
    shown = fields_shown(operator, ClientFactory())

    assert shown[None] == [
        *("name", "application_type", "client_id", "is_active"),
        *("redirect_uris", "allowed_origins", "scope"),
    ]
    assert shown["Signing in and out"][0] == "post_logout_redirect_uris"
    assert "may_use_client_credentials" in shown["What else it may do"]
    assert "session_lifetime" in shown["Lifetimes and audience"]


def test_a_machine_has_nothing_to_do_with_signing_in_unless_something_is_set_there(operator):
    machine = ClientFactory(application_type="m2m")

    assert "Signing in and out" not in fields_shown(operator, machine)
    assert "redirect_uris" not in fields_shown(operator, machine)[None]
    assert "refreshes_client_credentials" in fields_shown(operator, machine)["What else it may do"]
    Client.objects.update(allowed_origins="https://a.example")
    assert "allowed_origins" in fields_shown(operator, machine)[None]


def test_an_application_without_a_secret_is_not_offered_client_credentials(operator):
    shown = fields_shown(operator, ClientFactory(application_type="spa"))

    assert shown["What else it may do"] == ["refresh_tokens_enabled", "may_introspect"]
    assert "requires_pkce" not in shown["Signing in and out"]


def test_a_database_that_refuses_a_change_is_reported(operator, web_client, monkeypatch):
    page = url("client_change", web_client.pk)
    form = {**fields_of(operator.get(page)), "name": "Renamed"}
    monkeypatch.setattr("django_ciam_token.admin.client_secrets.update_client", refuse)

    response = operator.post(page, form, follow=True)

    assert "temporarily unavailable" in response.content.decode()
    assert Client.objects.get().name != "Renamed"
