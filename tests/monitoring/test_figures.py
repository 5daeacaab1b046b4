from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone as django_timezone

from django_ciam_token.models import EventType, RefreshCount, SecurityEvent
from django_ciam_token.monitoring import figures
from tests.factories import sessions

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def test_figures_are_exact_up_to_a_bound():
    first, second = sessions(2), sessions(1)
    sessions(1, expires_at=django_timezone.now() - DAY)

    found = figures.session_figures(now=django_timezone.now())

    assert (found.total, found.is_estimate) == (4, False)
    assert found.live == {first.pk: 2, second.pk: 1}
    assert found.live_total == 3
    assert figures.session_figures(now=django_timezone.now(), clients=[second.pk]).live == {second.pk: 1}


def test_figures_above_the_bound_are_estimates(monkeypatch):
    monkeypatch.setattr(figures, "EXACT_UP_TO", 2)
    monkeypatch.setattr(figures, "SAMPLE", 1_000)
    client = sessions(4)

    with CaptureQueriesContext(connection) as queries:
        found = figures.session_figures(now=django_timezone.now())

    assert found.is_estimate
    assert found.total >= 3
    assert set(found.live) <= {client.pk}
    assert len(queries) <= (60 if connection.vendor == "mysql" else 4)


def test_sessions_waiting_for_the_purge_are_counted_among_the_oldest(monkeypatch):
    sessions(2, expires_at=django_timezone.now() - 60 * DAY)
    sessions(1)

    assert figures.waiting_for_purge(now=django_timezone.now()) == (2, False)
    monkeypatch.setattr(figures, "_OLDEST", 1)
    assert figures.waiting_for_purge(now=django_timezone.now()) == (1, True)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/Los_Angeles"])
def test_events_are_counted_by_the_days_of_the_site(settings, zone):
    settings.TIME_ZONE = zone
    # On 8 March, clocks in Los Angeles go forward: that day has 23 hours.
    midnights = [datetime(2026, 3, day, tzinfo=ZoneInfo(zone)) for day in (7, 8, 9, 10, 11)]
    for midnight in midnights:
        for seconds in (-1, 0):
            at = midnight.astimezone(timezone.utc) + timedelta(seconds=seconds)
            SecurityEvent.objects.create(event=EventType.REUSE_DETECTED, at=at)
    SecurityEvent.objects.create(event=EventType.ISSUED, at=NOW)

    found = figures.events_by_day([EventType.REUSE_DETECTED, EventType.REPLAYED], days=4, now=NOW)

    assert found[EventType.REUSE_DETECTED] == [2, 2, 2, 2]
    assert found[EventType.REPLAYED] == [0] * 4


def test_refreshes_are_summed_over_shards_and_future_days_are_left_out():
    for days, shard, count in ((0, 1, 5), (0, 2, 6), (-13, 1, 7), (-14, 1, 8), (1, 1, 9)):
        RefreshCount.objects.create(day=(NOW + days * DAY).date(), shard=shard, count=count)

    assert figures.refreshes_by_day(days=14, now=NOW) == [7, *[0] * 12, 11]
    assert str(RefreshCount.objects.get(count=7)) == "2026-02-25 7"
