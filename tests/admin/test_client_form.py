from __future__ import annotations

from datetime import timedelta

import pytest

from django_ciam_token.models import Client
from tests.admin.new_clients import add_client
from tests.factories import ClientFactory
from tests.operators import url

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
