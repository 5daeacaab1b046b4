from __future__ import annotations

import argparse
from datetime import datetime, timedelta, timezone

import pytest
from django.test import override_settings
from django.utils import timezone as django_timezone

from django_ciam_token.management.instants import instant, iso, written

NEW_YORK = override_settings(TIME_ZONE="America/New_York", USE_TZ=True)
AT = datetime(2026, 3, 1, 17, 30, 15, 123456, tzinfo=timezone.utc)


@NEW_YORK
def test_what_is_written_for_people_is_read_as_the_same_instant():
    text = written(AT)

    assert text == "2026-03-01 12:30:15-05:00"
    assert instant(text) == AT.replace(microsecond=0)
    assert iso(AT) == "2026-03-01T17:30:15.123456+00:00"
    assert iso(None) is None


@NEW_YORK
def test_a_time_without_an_offset_is_in_the_sites_zone():
    assert instant("2026-03-01T12:30") == datetime(2026, 3, 1, 17, 30, tzinfo=timezone.utc)
    assert instant("2026-03-01") == datetime(2026, 3, 1, 5, tzinfo=timezone.utc)
    assert instant("2026-03-01T12:30Z") == datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc)


@override_settings(TIME_ZONE="Europe/Berlin", USE_TZ=False)
def test_without_time_zones_what_is_written_has_an_offset_as_well():
    text = written(datetime(2026, 3, 1, 12, 30))  # noqa: DTZ001

    assert text == "2026-03-01 12:30:00+01:00"
    assert instant(text) == datetime(2026, 3, 1, 12, 30)  # noqa: DTZ001
    assert iso(datetime(2026, 3, 1, 12, 30)) == "2026-03-01T12:30:00+01:00"  # noqa: DTZ001


@pytest.mark.parametrize(
    "text",
    ["0001-01-01", "0001-01-01T00:00+14:00", "9999-12-31", "9999-12-31T23:59-12:00", "99999w", "1969-12-31"],
)
@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
def test_times_that_databases_can_not_compare_with_are_refused(text, use_tz, zone):
    with (
        override_settings(USE_TZ=use_tz, TIME_ZONE=zone),
        pytest.raises(argparse.ArgumentTypeError, match="too far away"),
    ):
        instant(text)


def test_how_long_ago():
    assert abs(instant("7d") - (django_timezone.now() - timedelta(days=7))) < timedelta(minutes=1)
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time"):
        instant("yesterday")
