from __future__ import annotations

import pytest
from django.db.models import PROTECT
from django.urls import reverse

from django_ciam_token.admin import client_deletion
from django_ciam_token.api import issue_tokens
from django_ciam_token.models import Client, ClientSecret, RefreshToken
from tests.operators import browser_of, url

pytestmark = pytest.mark.django_db


def test_a_client_with_too_many_sessions_is_not_deleted_at_once(operator, web_client, user, monkeypatch):
    monkeypatch.setattr(client_deletion, "_MOST_SESSIONS", 0)
    issue_tokens(client=web_client, user=user)
    page = url("client_delete", web_client.pk)

    assert "too many sessions" in operator.get(page).content.decode()
    operator.post(page, {"post": "yes"})

    assert Client.objects.exists()


def test_a_client_that_the_site_protects_is_not_deleted(operator, web_client, monkeypatch):
    """A model of the site may protect clients. Here one of our own does."""
    key = ClientSecret._meta.get_field("client").remote_field
    monkeypatch.setattr(key, "on_delete", PROTECT)

    page = operator.post(url("client_delete", web_client.pk), {"post": "yes"})

    assert "Cannot delete client" in page.content.decode()
    assert Client.objects.exists()


def test_deleting_a_client_with_sessions_needs_the_permission_to_delete_them(web_client, user):
    browser = browser_of("view_client", "delete_client")
    assert "Are you sure" in browser.get(url("client_delete", web_client.pk)).content.decode()
    issue_tokens(client=web_client, user=user)

    browser.post(url("client_delete", web_client.pk), {"post": "yes"})

    assert Client.objects.exists()


@pytest.mark.parametrize("what", ["user", "client"])
def test_a_user_or_client_is_deleted_together_with_the_sessions(
    operator, user, web_client, first_tokens, what
):
    page = reverse("admin:auth_user_delete", args=[user.pk])
    if what == "client":
        page = url("client_delete", web_client.pk)

    response = operator.post(page, {"post": "yes"})

    assert response.status_code == 302
    assert not RefreshToken.objects.exists()
