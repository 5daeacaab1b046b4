"""Times in the admin: to the second, with their offset, in one zone on every page."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation

from django_ciam_token.admin import times
from django_ciam_token.clients.secrets import rotate_client_secret
from django_ciam_token.keys import signing_keys
from django_ciam_token.models import Consent, SecurityEvent, SigningKey
from tests.operators import url

INSTANT = datetime(2026, 3, 29, 0, 30, 15, 999_999, tzinfo=datetime_timezone.utc)
SHOWN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (UTC|[+-]\d\d:\d\d)")


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "2026-03-29 00:30:15 UTC"),
        ("Europe/London", "2026-03-29 00:30:15 +00:00"),
        ("Europe/Berlin", "2026-03-29 01:30:15 +01:00"),
        ("Asia/Kolkata", "2026-03-29 06:00:15 +05:30"),
        ("Asia/Shanghai", "2026-03-29 08:30:15 +08:00"),
        ("America/Chicago", "2026-03-28 19:30:15 -05:00"),
    ],
)
@pytest.mark.parametrize("language", ["en", "de", "zh-hans"])
def test_an_instant_has_seconds_and_an_offset_in_every_zone_and_language(zone, text, language):
    with timezone.override(ZoneInfo(zone)), translation.override(language):
        assert times.exact(INSTANT) == text
        assert f">{text}</time>" in times.element(INSTANT)


def test_the_two_hours_of_autumn_can_be_told_apart():
    with timezone.override(ZoneInfo("Europe/Berlin")):
        first = datetime(2026, 10, 25, 0, 30, tzinfo=datetime_timezone.utc)
        assert times.exact(first) == "2026-10-25 02:30:00 +02:00"
        assert times.exact(first + timedelta(hours=1)) == "2026-10-25 02:30:00 +01:00"


def test_without_time_zones_the_zone_of_the_site_is_named(settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"

    assert times.exact(datetime(2026, 7, 1, 12, 0, 1)) == "2026-07-01 12:00:01 +02:00"  # noqa: DTZ001
    assert times.exact(None) == times.element(None) == "-"


@pytest.mark.django_db
def test_no_page_of_an_object_shows_a_time_without_seconds(operator, web_client, user, session):
    event = SecurityEvent.objects.create(event="issued", session_id=session.pk)
    consent = Consent.objects.create(client=web_client, user=user, scope="openid")
    rotate_client_secret(web_client)
    signing_keys.rotate(algorithm="ES256")

    for name, key in {
        "securityevent_change": event.pk,
        "consent_change": consent.pk,
        "client_change": web_client.pk,
        "signingkey_change": SigningKey.objects.order_by("pk").first().pk,
        "signingkey_changelist": None,
        "refreshtoken_change": session.pk,
    }.items():
        page = operator.get(url(name, *([] if key is None else [key]))).content.decode()
        assert SHOWN.search(page), name
        assert not re.search(r"\d (a\.m\.|p\.m\.|noon|midnight)", page), name
