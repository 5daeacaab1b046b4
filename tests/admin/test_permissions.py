"""What one permission must not suffice for."""

from __future__ import annotations

import pytest

from django_ciam_token.admin import session_ending
from django_ciam_token.api import issue_tokens
from django_ciam_token.models import Client, RefreshToken
from tests.factories import ClientFactory, UserFactory, make_sessions
from tests.operators import browser_of, url

pytestmark = pytest.mark.django_db

FIRST_LINE = ("view_client", "view_refreshtoken", "revoke_refreshtoken")
CONFIRMED = {"confirmed": "yes"}


def test_first_line_support_ends_a_session_but_not_all_of_an_application(web_client, user):
    issue_tokens(client=web_client, user=user)
    issue_tokens(client=web_client, user=UserFactory())
    browser = browser_of(*FIRST_LINE)
    address = url("client_end_sessions", web_client.pk)

    assert address not in browser.get(url("client_change", web_client.pk)).content.decode()
    assert browser.get(address).status_code == 403
    assert browser.post(address, CONFIRMED).status_code == 403
    assert RefreshToken.objects.filter(revoked_at=None).count() == 2

    one = RefreshToken.objects.get(user=user)
    browser.post(url("refreshtoken_end", one.pk), CONFIRMED)
    assert RefreshToken.objects.get(revoked_at=None) != one


def test_who_may_end_in_bulk_ends_all_of_an_application(web_client, user):
    issue_tokens(client=web_client, user=user)
    browser = browser_of("view_client", "bulk_revoke_refreshtoken")
    address = url("client_end_sessions", web_client.pk)
    assert address in browser.get(url("client_change", web_client.pk)).content.decode()

    browser.post(address, CONFIRMED)

    assert not RefreshToken.objects.filter(revoked_at=None).exists()


@pytest.mark.parametrize(("more", "left"), [((), 2), (("bulk_revoke_refreshtoken",), 0)])
def test_first_line_support_ends_a_limited_number_of_selected_sessions(web_client, monkeypatch, more, left):
    monkeypatch.setattr(session_ending, "_MOST_WITHOUT_BULK", 3)
    make_sessions(5, web_client)
    browser = browser_of(*FIRST_LINE, *more)
    chosen = [str(key) for key in RefreshToken.objects.values_list("pk", flat=True)]
    form = {"action": "end_sessions", "_selected_action": chosen}

    page = browser.post(url("refreshtoken_changelist"), form).content.decode()
    assert ("Repeat the action for the rest" in page) is bool(left)
    browser.post(url("refreshtoken_changelist"), {**form, **CONFIRMED})

    assert RefreshToken.objects.filter(revoked_at=None).count() == left


def saved(browser, client, **fields):
    page = browser.get(url("client_change", client.pk))
    form = page.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    data = {name: value for name, value in values.items() if value not in (None, False, "")}
    inline = {f"secrets-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
    browser.post(url("client_change", client.pk), {**data, **inline, **fields})
    return Client.objects.get(pk=client.pk)


@pytest.mark.parametrize(
    ("more", "granted"), [((), False), (("grant_introspection",), True)], ids=["change_client", "both"]
)
def test_changing_clients_does_not_suffice_to_let_one_introspect_all_tokens(more, granted):
    client = ClientFactory()
    browser = browser_of("view_client", "change_client", *more)

    changed = saved(browser, client, name="Renamed", may_introspect="on")

    assert (changed.name, changed.may_introspect) == ("Renamed", granted)


@pytest.mark.parametrize("is_on", [True, False])
def test_without_the_permission_a_change_keeps_what_was_granted(is_on):
    client = ClientFactory(may_introspect=is_on)

    changed = saved(browser_of("view_client", "change_client"), client, name="Renamed")

    assert (changed.name, changed.may_introspect) == ("Renamed", is_on)


def test_nor_does_adding_them():
    browser = browser_of("view_client", "add_client")
    form = {"name": "Spy", "application_type": "m2m", "client_id": "spy", "scope": ["openid"]}

    browser.post(url("client_add"), {**form, "is_active": "on", "may_introspect": "on"})

    assert Client.objects.get(client_id="spy").may_introspect is False
