from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone as django_timezone

from django_ciam_token.admin import signing_keys as page_module
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import EventType, SecurityEvent, SigningKey, SigningKeyState
from tests.factories import UserFactory
from tests.operators import refuse, url

pytestmark = pytest.mark.django_db

LIST = "signingkey_changelist"
ACTIONS = ("signingkey_rotate", "signingkey_rotate_now", "signingkey_remove_retired")
DAY = timedelta(days=1)


def test_the_list_shows_the_picture_and_no_private_key(operator):
    signing_keys.rotate()
    stored = SigningKey.objects.values_list("encrypted_private_key", flat=True)

    page = operator.get(url(LIST)).content.decode()

    assert page.count('<svg class="ciam-chart"') == 2
    assert "ciam-published" in page
    assert "/oauth2/jwks" in page
    assert not any(text in page for text in stored)


@pytest.mark.parametrize("number", [0, 5])
def test_the_list_makes_as_many_statements_for_many_keys(operator, number):
    for _ in range(number):
        signing_keys.rotate(algorithm="ES256")
    operator.get(url(LIST))

    with CaptureQueriesContext(connection) as queries:
        operator.get(url(LIST))

    assert len(queries) == 6


def test_the_list_warns_about_an_old_key(operator, settings):
    assert "SIGNING_KEY_MAX_AGE" not in operator.get(url(LIST)).content.decode()
    SigningKey.objects.update(active_at=django_timezone.now() - 366 * DAY)

    assert "longer than SIGNING_KEY_MAX_AGE" in operator.get(url(LIST)).content.decode()

    SigningKey.objects.update(active_at=django_timezone.now() - 366 * DAY)
    signing_keys.rotate(algorithm="ES256")  # Its successor is already published.
    assert "SIGNING_KEY_MAX_AGE" not in operator.get(url(LIST)).content.decode()
    SigningKey.objects.order_by("-pk").first().delete()
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SIGNING_KEY_MAX_AGE": None}
    assert "SIGNING_KEY_MAX_AGE" not in operator.get(url(LIST)).content.decode()


def test_the_list_says_if_there_are_no_keys_or_endpoints(operator, settings):
    SigningKey.objects.all().delete()
    settings.ROOT_URLCONF = "tests.admin_urls"

    page = operator.get(url(LIST)).content.decode()

    assert "no token can be signed" in page
    assert "jwks" not in page


def test_a_key_is_rotated_gracefully_after_confirmation(operator, django_capture_on_commit_callbacks):
    page = url("signingkey_rotate")
    assert "Create a new signing key?" in operator.get(page).content.decode()
    assert SigningKey.objects.count() == 1

    with django_capture_on_commit_callbacks(execute=True):
        operator.post(page, {"confirmed": "yes", "algorithm": "ES256"})

    event = SecurityEvent.objects.get(event=EventType.KEY_ROTATED)
    assert (event.actor, event.address) == ("operator", "127.0.0.1")
    new = SigningKey.objects.order_by("-pk").first()
    assert new.state(django_timezone.now()) is SigningKeyState.PUBLISHED
    assert new.algorithm == "ES256"
    assert LogEntry.objects.get().object_id == str(new.pk)


@pytest.mark.parametrize("compromised", [False, True])
def test_a_key_is_rotated_at_once_after_confirmation(operator, compromised):
    old = SigningKey.objects.get()
    form = {"confirmed": "yes", "algorithm": "RS256"} | ({"compromised": "on"} if compromised else {})

    operator.post(url("signingkey_rotate_now"), form)

    old.refresh_from_db()
    now = django_timezone.now()
    assert key_set.active_key(SigningKey.objects.all(), now) != old
    assert (old.state(now) is SigningKeyState.REMOVED) == compromised


def test_an_unknown_algorithm_is_asked_for_again(operator):
    operator.post(url("signingkey_rotate"), {"confirmed": "yes", "algorithm": "none"})

    assert SigningKey.objects.count() == 1


def test_retired_keys_are_removed_after_confirmation(operator):
    old = SigningKey.objects.get()
    page = url("signingkey_remove_retired")
    assert "no retired key" in operator.get(page, follow=True).content.decode()
    signing_keys.rotate(immediately=True)
    assert old.kid in operator.get(page).content.decode()

    assert f'name="kid" value="{old.kid}"' in operator.get(page).content.decode()
    # While the page is open, somebody else rotates once more.
    signing_keys.rotate(immediately=True)
    answer = operator.post(page, {"confirmed": "yes", "kid": [old.kid]}, follow=True).content.decode()

    assert "1 key was removed." in answer
    states = [key.state(django_timezone.now()) for key in SigningKey.objects.order_by("pk")]
    assert states == [SigningKeyState.REMOVED, SigningKeyState.RETIRED, SigningKeyState.ACTIVE]
    assert LogEntry.objects.get().object_id == str(old.pk)


def test_retired_keys_that_were_not_named_are_asked_for_again(operator):
    signing_keys.rotate(immediately=True)

    page = operator.post(url("signingkey_remove_retired"), {"confirmed": "yes"})

    assert "Yes, remove them" in page.content.decode()
    assert not SigningKey.objects.exclude(removed_at=None).filter(removed_at__lte=django_timezone.now())


@pytest.mark.parametrize("name", ACTIONS)
def test_an_unavailable_database_is_reported(operator, monkeypatch, name):
    signing_keys.rotate(immediately=True)
    monkeypatch.setattr(page_module.signing_keys, "rotate", refuse)
    monkeypatch.setattr(page_module.signing_keys, "remove_retired", refuse)

    form = {"confirmed": "yes", "algorithm": "RS256", "kid": "x"}
    page = operator.post(url(name), form, follow=True)

    assert "The change may have been made all the same" in page.content.decode()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("name", ACTIONS)
def test_an_operator_who_may_only_view_keys_is_refused(viewer, name):
    assert url(name) not in viewer.get(url(LIST)).content.decode()
    assert viewer.get(url(name)).status_code == 403
    assert viewer.post(url(name), {"confirmed": "yes", "algorithm": "RS256"}).status_code == 403
    assert SigningKey.objects.count() == 1


@pytest.mark.parametrize("name", ACTIONS)
def test_rotation_is_protected_against_forged_requests(name):
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(UserFactory(is_staff=True, is_superuser=True))

    assert browser.post(url(name), {"confirmed": "yes", "algorithm": "RS256"}).status_code == 403
