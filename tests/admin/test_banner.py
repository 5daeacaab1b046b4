from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_ciam_token.admin import banner
from django_ciam_token.admin.banner import notices
from django_ciam_token.models import EventType, SecurityEvent, SigningKey

pytestmark = pytest.mark.django_db


def shown(*reuse):
    return [
        (notice.level, notice.text) for notice in notices(SigningKey.objects.all(), reuse, timezone.now())
    ]


def test_nothing_to_do_is_said_in_one_line():
    [(level, text)] = shown(0, 4)

    assert level == "ok"
    assert "A usable key is active" in text


def test_without_an_active_key_it_is_an_alarm():
    SigningKey.objects.update(removed_at=timezone.now())

    assert shown() == [("alarm", "No key is active: no token can be signed.")]


def test_an_active_key_that_no_secret_decrypts_is_an_alarm(settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SECRETS": ["x" * 50]}

    [(level, text)] = shown()

    assert level == "alarm"
    assert "not usable with the site's secrets" in text


def test_a_key_that_does_not_match_its_row_is_an_alarm():
    SigningKey.objects.update(kid="inserted-by-somebody")

    assert [level for level, _text in shown()] == ["alarm", "alarm"]
    assert "Key inserted-by- does not match its row" in shown()[1][1]


def test_an_overdue_key_is_a_warning(settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SIGNING_KEY_MAX_AGE": timedelta(days=1)}
    SigningKey.objects.update(active_at=timezone.now() - timedelta(days=2))

    [(level, text)] = shown()

    assert level == "warning"
    assert "longer than SIGNING_KEY_MAX_AGE" in text


@pytest.mark.parametrize(
    ("days", "is_alarm"),
    [
        ((0, 0, 4), False),
        ((0, 0, 5), True),
        ((2, 2, 7), True),
        ((2, 2, 6), False),
        ((40,), False),
        ((), False),
    ],
)
def test_reuse_is_compared_with_the_days_before(days, is_alarm):
    assert any(level == "alarm" for level, _text in shown(*days)) is is_alarm


def test_without_the_audit_trail_there_is_a_warning_after_alarms(settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUDIT_TRAIL": False}
    SigningKey.objects.all().delete()

    assert [level for level, _text in shown()] == ["alarm", "warning"]


def test_wrong_settings_are_an_alarm(monkeypatch):
    def refuse(key):
        raise ImproperlyConfigured("SECRETS is empty")

    monkeypatch.setattr(banner.binding, "trust", refuse)

    assert shown() == [("alarm", "The settings are wrong. Run: manage.py check")]


def test_the_overview_begins_with_the_banner(operator):
    for _ in range(7):
        SecurityEvent.objects.create(event=EventType.REUSE_DETECTED)

    page = operator.get(reverse("admin:app_list", args=["django_ciam_token"])).content.decode()

    assert "was detected 7 times today; normal is 0." in page
    assert page.index("ciam-notice-alarm") < page.index("ciam-figure")


def test_the_banner_makes_no_query_per_key():
    with CaptureQueriesContext(connection) as queries:
        shown()

    assert len(queries) == 1
