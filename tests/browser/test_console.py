"""What operators do all day, in a real browser."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from django_ciam_token.api import issue_tokens
from django_ciam_token.keys.signing_keys import ensure_first_key
from django_ciam_token.models import Client, Consent, RefreshToken, SecurityEvent, SigningKey
from tests.browser.conftest import PASSWORD
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SECRET = re.compile(r"ciam_cs_[\w-]{43}")


@pytest.fixture(autouse=True)
def _key():
    # Tests with real transactions empty every table, including the one that `migrate` has filled.
    ensure_first_key(using="default")


def operator(name="operator", *permissions):
    user = UserFactory(username=name, is_staff=True, is_superuser=not permissions)
    user.set_password(PASSWORD)
    user.save()
    for permission in permissions:
        user.user_permissions.add(*Permission.objects.filter(codename__startswith=permission))
    return name


def url(name, *args):
    return reverse(f"admin:django_ciam_token_{name}", args=args)


def refresh(client_id, secret, token):
    form = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": token}
    return post_form({**form, "client_secret": secret})


def secrets_on(page):
    return set(SECRET.findall(page.content()))


def test_a_new_clients_secret_is_shown_once_and_refreshes(signed_in, shoot):
    page = signed_in(operator())

    page.goto(url("client_changelist"))
    page.get_by_role("link", name="Add client").click()
    page.get_by_label("Name:").fill("Customer portal")
    page.get_by_label("Application type:").select_option("web")
    page.get_by_label("profile").check()
    shoot(page, "client-add")
    page.get_by_role("button", name="Save", exact=True).click()

    page.wait_for_url("**/new-secret/")
    [secret] = secrets_on(page)
    client = Client.objects.get()
    page.get_by_role("button", name="Copy client_secret").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    page.evaluate("navigator.clipboard.writeText('')")
    shoot(page, "client-new-secret")
    tokens = issue_tokens(client=client, user=UserFactory())
    assert refresh(client.client_id, secret, tokens["refresh_token"]).status_code == 200
    page.reload()
    assert secrets_on(page) == set()
    page.get_by_text("There is no secret to show").wait_for()


def test_a_secret_is_replaced_and_the_old_one_stays_valid(signed_in, shoot):
    client = ClientFactory(name="Customer portal")
    tokens = issue_tokens(client=client, user=UserFactory())
    page = signed_in(operator())

    page.goto(url("client_change", client.pk))
    shoot(page, "client-change")
    page.get_by_role("link", name="New secret").click()
    page.get_by_label("How long the current secret stays valid").select_option(label="a day")
    shoot(page, "client-replace-secret")
    page.get_by_role("button", name="Yes, create a new secret").click()

    page.wait_for_url("**/new-secret/")
    [new] = secrets_on(page)
    page.get_by_text("The previous secret stays valid until").wait_for()
    answer = refresh(client.client_id, client.plain_secret, tokens["refresh_token"])
    assert answer.status_code == 200
    assert refresh(client.client_id, new, answer.json()["refresh_token"]).status_code == 200
    page.goto(url("client_change", client.pk))
    assert secrets_on(page) == set()
    assert page.locator("#secrets-group tr.has_original").count() == 2


def test_a_session_is_found_by_a_pasted_token_and_ended(signed_in, shoot):
    client = ClientFactory(name="Customer portal")
    alice = UserFactory(username="alice")
    tokens = issue_tokens(client=client, user=alice)
    issue_tokens(client=client, user=UserFactory(username="bob"))
    session = RefreshToken.objects.get(user=alice)
    page = signed_in(operator())

    page.goto(url("refreshtoken_changelist"))
    shoot(page, "sessions")
    page.get_by_role("link", name="Inspect a token").click()
    page.get_by_label("Token").fill("nonsense")
    page.get_by_role("button", name="Inspect").click()
    page.get_by_role("heading", name="Nothing that this service issues").wait_for()
    shoot(page, "find-by-token")
    assert "nonsense" not in page.content()
    page.get_by_label("Token").fill(tokens["refresh_token"])
    page.get_by_role("button", name="Inspect").click()
    page.get_by_role("heading", name="Refresh token").wait_for()
    assert tokens["refresh_token"] not in page.content()
    page.get_by_role("link", name=str(session.pk)).click()
    page.wait_for_url(f"**{url('refreshtoken_change', session.pk)}")
    page.get_by_role("link", name="End this session").click()
    shoot(page, "session-end")
    page.get_by_role("button", name="Yes, end it").click()

    page.get_by_text("The session was ended.").wait_for()
    page.get_by_text("by an operator").last.wait_for()
    shoot(page, "session")
    refused = refresh(client.client_id, client.plain_secret, tokens["refresh_token"])
    assert refused.json() == {"error": "invalid_grant"}
    assert RefreshToken.objects.filter(revoked_at=None).count() == 1


def test_selected_sessions_are_ended(signed_in):
    client = ClientFactory()
    for _ in range(3):
        issue_tokens(client=client, user=UserFactory())
    page = signed_in(operator())

    page.goto(url("refreshtoken_changelist"))
    page.locator("input.action-select").nth(0).check()
    page.locator("input.action-select").nth(2).check()
    page.locator("select[name=action]").select_option(label="End selected sessions")
    page.locator("button[name=index]").click()
    page.get_by_text("End 2 sessions?").wait_for()
    page.get_by_role("button", name="Yes, end them").click()

    page.get_by_text("2 sessions were ended.").wait_for()
    assert RefreshToken.objects.filter(revoked_at=None).count() == 1


def test_a_user_is_signed_out_everywhere_from_their_own_page(signed_in, shoot):
    alice = UserFactory(username="alice")
    for name in ("Customer portal", "Mobile app"):
        issue_tokens(client=ClientFactory(name=name), user=alice)
    issue_tokens(client=ClientFactory(), user=UserFactory())
    page = signed_in(operator())

    page.goto(reverse("admin:auth_user_change", args=[alice.pk]))
    rows = page.get_by_role("region", name="Sessions and devices").locator("tbody tr")
    rows.filter(has_text="Mobile app").wait_for()
    shoot(page, "user")
    page.get_by_role("link", name="Sign out everywhere").click()
    shoot(page, "sign-out")
    page.get_by_role("button", name="Yes, sign out everywhere").click()

    page.get_by_text("2 sessions were ended.").wait_for()
    assert RefreshToken.objects.filter(revoked_at=None).count() == 1


def test_a_signing_key_is_rotated_and_the_picture_shows_it(signed_in, shoot):
    page = signed_in(operator())

    page.goto(url("signingkey_changelist"))
    page.get_by_role("link", name="Rotate gracefully").click()
    page.get_by_role("button", name="Yes, rotate").click()

    page.wait_for_url(f"**{url('signingkey_changelist')}")
    assert SigningKey.objects.count() == 2
    assert page.locator("svg .ciam-published").count() >= 1
    shoot(page, "signing-keys")
    assert "BEGIN" not in page.content()


def test_a_client_is_disabled_and_enabled(signed_in):
    client = ClientFactory()
    page = signed_in(operator())

    for question, is_active in (("Disable", False), ("Enable", True)):
        page.goto(url("client_change", client.pk))
        page.get_by_role("link", name=question, exact=True).click()
        page.get_by_role("button", name=f"Yes, {question.lower()}").click()
        page.wait_for_url(f"**{url('client_change', client.pk)}")
        client.refresh_from_db()
        assert client.is_active is is_active


def test_the_overview_and_the_lists_are_readable(signed_in, shoot):
    for name in ("Customer portal", "Mobile app", "Nightly export"):
        client = ClientFactory(name=name)
        for _ in range(3):
            issue_tokens(client=client, user=UserFactory())
    page = signed_in(operator())

    page.goto(reverse("admin:app_list", args=["django_ciam_token"]))
    page.get_by_text("Live sessions").first.wait_for()
    shoot(page, "overview")
    page.goto(url("client_changelist"))
    page.get_by_role("button", name=f"Copy {client.client_id}").click()
    assert page.evaluate("navigator.clipboard.readText()") == client.client_id
    shoot(page, "clients")


def test_an_operator_who_may_only_view_sees_no_button_that_fails(signed_in):
    client = ClientFactory()
    alice = UserFactory(username="alice")
    issue_tokens(client=client, user=alice)
    session = RefreshToken.objects.get()
    page = signed_in(operator("viewer", "view_"))
    pages = [
        reverse("admin:app_list", args=["django_ciam_token"]),
        url("client_changelist"),
        url("client_change", client.pk),
        url("refreshtoken_changelist"),
        url("refreshtoken_change", session.pk),
        url("signingkey_changelist"),
        reverse("admin:auth_user_change", args=[alice.pk]),
    ]

    links = set()
    for address in pages:
        page.goto(address)
        buttons = page.locator("#content input[type=submit], #content button[type=submit]")
        names = {button.get_attribute("value") or button.inner_text() for button in buttons.all()}
        assert names <= {"Search", "Run", "Go"}, address
        links |= {link.get_attribute("href") for link in page.locator("#content .object-tools a").all()}
    for link in links:
        if link is not None:
            assert page.goto(link).status == 200, link
    refused = [
        url("client_replace_secret", client.pk),
        url("client_end_sessions", client.pk),
        url("client_switch", client.pk),
        url("refreshtoken_end", session.pk),
        url("refreshtoken_sign_out", alice.pk),
    ]
    for address in refused:
        assert page.goto(address).status == 403, address


def test_the_form_of_a_client_says_what_each_type_enters(signed_in, shoot):
    page = signed_in(operator())
    page.goto(url("client_add"))
    page.get_by_label("Name:").fill("Dashboard")

    page.get_by_label("Application type:").select_option("m2m")
    assert page.get_by_text("a machine signs nobody in").is_visible()
    page.get_by_label("Application type:").select_option("spa")
    assert page.get_by_text("The page that receives the code").is_visible()
    assert not page.get_by_text("your domain in reverse").is_visible()
    uris = page.get_by_label("Redirect URIs:", exact=True)
    uris.fill("https://app.example.com/callback\ncom.example.app:/callback")
    assert page.get_by_text("This application can't have: com.example.app:/callback").is_visible()
    shoot(page, "client-add-wrong-line")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("com.example.app:/callback is for mobile applications only").wait_for()
    shoot(page, "client-add-refused")
    page.get_by_label("Redirect URIs:", exact=True).fill("https://app.example.com/callback")
    assert not page.get_by_text("This application can't have").is_visible()
    page.get_by_role("button", name="Save", exact=True).click()

    page.get_by_role("heading", name="oidc-client-ts").wait_for()
    shoot(page, "quick-start-spa")
    page.get_by_role("link", name="Continue to the application").click()
    shoot(page, "client-change-spa")
    page.get_by_label("Name:").fill("Dashboards")
    page.get_by_role("button", name="Save", exact=True).click()
    client = Client.objects.get()
    assert (client.name, client.redirect_uris) == ("Dashboards", "https://app.example.com/callback")
    assert SecurityEvent.objects.get(reason="name").detail == {"name": ["Dashboard", "Dashboards"]}


def test_a_consent_is_withdrawn(signed_in, shoot):
    client, user = ClientFactory(name="Partner", asks_consent=True), UserFactory(username="alice")
    consent = Consent.objects.create(client=client, user=user, scope="openid email")
    issue_tokens(client=client, user=user)
    page = signed_in(operator())

    page.goto(url("consent_changelist"))
    shoot(page, "consents")
    page.get_by_role("link", name="alice").click()
    shoot(page, "consent")
    page.get_by_role("link", name="Withdraw").click()
    page.get_by_text("1 live session ends.").wait_for()
    shoot(page, "consent-withdraw")
    page.get_by_role("button", name="Yes, withdraw").click()

    page.get_by_text("1 consent was withdrawn.").wait_for()
    assert not Consent.objects.filter(pk=consent.pk).exists()
    assert RefreshToken.objects.get().revoked_reason == "consent_withdrawn"
    page.goto(url("securityevent_changelist"))
    shoot(page, "events-consent")


def test_an_incident_is_seen_at_once(signed_in, shoot):
    client, user = ClientFactory(name="Customer portal"), UserFactory(username="ada", email="ada@example.org")
    issue_tokens(client=client, user=user)
    issue_tokens(client=client, user=UserFactory())
    user.set_password("another one")
    user.save()
    SecurityEvent.objects.bulk_create([SecurityEvent(event="reuse_detected") for _ in range(7)])
    page = signed_in(operator())

    page.goto(reverse("admin:app_list", args=["django_ciam_token"]))
    page.get_by_text("was detected 7 times today").wait_for()
    shoot(page, "overview-alarm")

    page.goto(url("refreshtoken_changelist"))
    page.locator("#searchbar").fill("ADA@example")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("1 session").first.wait_for()
    page.get_by_title("blocked: password changed").wait_for()
    shoot(page, "sessions-blocked")
    page.get_by_role("link", name="ada").first.click()
    page.get_by_role("link", name="End this session").wait_for()
    assert page.get_by_role("link", name="Delete").count() == 0
    shoot(page, "session-blocked")

    page.goto(url("refreshtoken_changelist") + "?q=nobody&state=live")
    page.get_by_text("Nothing matches “nobody”.").wait_for()
    shoot(page, "sessions-nothing")
