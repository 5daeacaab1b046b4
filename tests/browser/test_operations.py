"""What an operator does in an incident and before a planned change, in a real browser."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_ciam_token.api import issue_tokens, rotate_client_secret
from django_ciam_token.clients.secret_retirement import live_secrets
from django_ciam_token.keys.signing_keys import ensure_first_key
from django_ciam_token.models import RefreshToken, SecurityEvent, SigningKey
from tests.browser.conftest import PASSWORD
from tests.factories import ClientFactory, UserFactory
from tests.operators import url

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(page, signed_in):
    """The browser of an operator who may do everything."""
    ensure_first_key(using="default")
    operator = UserFactory(username="operator", is_staff=True, is_superuser=True)
    operator.set_password(PASSWORD)
    operator.save()
    return signed_in("operator")


def test_one_of_two_secrets_is_retired(page, shoot):
    client = ClientFactory(name="Customer portal")
    rotate_client_secret(client)
    new, old = live_secrets(client)

    page.goto(url("client_change", client.pk))
    page.get_by_role("link", name="Retire a secret").click()
    shoot(page, "retire-secret")
    page.get_by_role("button", name="Yes, retire it").click()
    # The browser itself asks for a choice.
    assert page.url.endswith(url("client_retire_secret", client.pk))
    page.get_by_label(f"…{old.last_four}").check()
    page.get_by_role("button", name="Yes, retire it").click()

    page.get_by_text(f"The secret …{old.last_four} was retired.").wait_for()
    shoot(page, "retired-secret")
    assert live_secrets(client) == [new]
    assert page.get_by_role("link", name="Retire a secret").count() == 0
    assert SecurityEvent.objects.get(event="secret_retired").actor == "operator"


def test_a_rotation_is_planned_and_seen_in_the_timeline(page, shoot):
    page.goto(url("signingkey_changelist"))
    page.get_by_role("link", name="Plan a rotation").click()
    offered = page.get_by_label("Signs from").input_value()
    assert len(offered) == len("2026-12-01T03:00")
    page.get_by_label("Signs from").fill("2020-01-01T03:00")
    page.get_by_role("button", name="Yes, rotate").click()
    page.get_by_text("Choose a time between").wait_for()
    page.get_by_label("Signs from").fill(offered)
    shoot(page, "plan-rotation")
    page.get_by_role("button", name="Yes, rotate").click()

    page.get_by_text("was created").wait_for()
    shoot(page, "planned-rotation")
    new, old = SigningKey.objects.all()
    assert timezone.localtime(new.active_at).strftime("%Y-%m-%dT%H:%M") == offered
    assert old.retired_at == new.active_at
    assert page.locator("svg rect.ciam-published").count() == 1
    page.get_by_role("link", name="Rotate now").click()
    page.get_by_text(f"Key {new.kid[:12]} is planned to sign from").wait_for()
    shoot(page, "rotate-now-planned")


def test_sessions_are_ended_by_criteria(page, shoot):
    portal = ClientFactory(name="Customer portal", client_id="portal")
    for _ in range(3):
        issue_tokens(client=portal, user=UserFactory())
    RefreshToken.objects.update(issued_at=timezone.now() - timedelta(days=2))
    issue_tokens(client=portal, user=UserFactory())

    page.goto(url("refreshtoken_changelist"))
    page.get_by_role("link", name="End by criteria").click()
    page.get_by_role("button", name="Show what would end").click()
    page.get_by_text("Fill in what the sessions have in common").wait_for()
    shoot(page, "end-by-criteria")
    page.get_by_label("client_id").fill("portal")
    yesterday = timezone.localtime() - timedelta(days=1)
    page.get_by_label("Started before").fill(yesterday.strftime("%Y-%m-%dT%H:%M"))
    page.get_by_role("button", name="Show what would end").click()
    page.get_by_text("Live sessions: 3. Users: 3.").wait_for()
    shoot(page, "end-by-criteria-preview")
    understood = page.get_by_label("I have read the numbers")
    box, words = (part.bounding_box() for part in (understood, page.get_by_text("I have read the numbers")))
    assert box["x"] < words["x"] < box["x"] + 40
    assert abs(box["y"] - words["y"]) < 10
    understood.check()
    page.get_by_role("button", name="Yes, end them all").click()

    page.get_by_text("3 sessions were ended.").wait_for()
    assert RefreshToken.objects.filter(revoked_at=None).count() == 1
