from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.admin import site
from django.contrib.admin.sites import NotRegistered
from django.contrib.auth.models import Permission
from django.contrib.staticfiles import finders
from django.test import Client as Browser
from django.test import RequestFactory
from django.urls import reverse

from django_ciam_token.models import ClientSecret, RefreshToken, SecurityEvent, SigningKey
from tests.factories import UserFactory
from tests.operators import url

pytestmark = pytest.mark.django_db


def pages(client, session, key):
    event = SecurityEvent.objects.create(event="issued", client_id=client.client_id, session_id=session.pk)
    return [
        url("securityevent_changelist"),
        url("securityevent_changelist") + f"?q={client.client_id}",
        url("securityevent_change", event.pk),
        url("client_changelist"),
        url("client_add"),
        url("client_change", client.pk),
        url("client_delete", client.pk),
        url("client_history", client.pk),
        url("client_changelist") + "?q=portal",
        url("refreshtoken_changelist"),
        url("refreshtoken_change", session.pk),
        url("signingkey_changelist"),
        url("signingkey_changelist") + f"?q={key.kid}",
        url("signingkey_change", key.pk),
        url("signingkey_rotate"),
        url("signingkey_rotate_now"),
        url("client_new_secret", client.pk),
        url("client_replace_secret", client.pk),
        url("client_end_sessions", client.pk),
        url("client_switch", client.pk),
        url("refreshtoken_find_by_token"),
        url("refreshtoken_end", session.pk),
        url("refreshtoken_sign_out", session.user_id),
        url("refreshtoken_history", session.pk),
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


@pytest.mark.parametrize("name", ["encrypted_private_key__startswith", "encrypted_private_key"])
def test_hidden_fields_can_not_be_filtered_by(viewer, name):
    """By its address, Django lets operators filter a list by any column of its table."""
    assert viewer.get(url("signingkey_changelist"), {"kid__startswith": "x"}).status_code == 200

    assert viewer.get(url("signingkey_changelist"), {name: "gAAAAA"}).status_code == 400


def test_sessions_and_keys_are_read_only(operator, first_tokens):
    session, key = RefreshToken.objects.get(), SigningKey.objects.get()

    for model, row in (("refreshtoken", session), ("signingkey", key)):
        assert operator.get(url(f"{model}_add")).status_code == 403
        assert operator.post(url(f"{model}_change", row.pk), {}).status_code == 403
        assert "delete_selected" not in operator.get(url(f"{model}_changelist")).content.decode()
    event = SecurityEvent.objects.create(event="issued")
    assert operator.post(url("signingkey_delete", key.pk), {"post": "yes"}).status_code == 403
    assert operator.post(url("securityevent_delete", event.pk), {"post": "yes"}).status_code == 403


def test_an_operator_with_view_permissions_only_is_offered_nothing_more(web_client, first_tokens):
    viewer = UserFactory(is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    browser = Browser()
    browser.force_login(viewer)

    for page in (url("client_changelist"), url("client_change", web_client.pk)):
        text = browser.get(page).content.decode()
        assert "addlink" not in text
        assert 'name="_save"' not in text
    quick_start = browser.get(url("client_new_secret", web_client.pk)).content.decode()
    assert url("client_replace_secret", web_client.pk) not in quick_start
    viewer.user_permissions.clear()
    response = browser.get(url("client_new_secret", web_client.pk))
    assert response["Location"] == url("client_changelist")


def test_a_field_of_a_model_that_the_admin_does_not_have_shows_no_link(monkeypatch):
    monkeypatch.setattr(site, "get_model_admin", not_registered)

    assert site._registry[RefreshToken]._may_see(RequestFactory().get("/"), "client") is False


def not_registered(model):
    raise NotRegistered


def test_each_variable_of_the_admin_has_a_fallback_for_themes_without_it():
    styles = Path(finders.find("django_ciam_token/admin.css")).read_text()

    assert re.findall(r"var\(--(?!ciam-)[\w-]+\)", styles) == []
