from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone as django_timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.database import clock
from django_ciam_token.database.uuid7 import lowest_uuid7
from django_ciam_token.models import EventType, RefreshCount, RefreshToken, SecurityEvent
from django_ciam_token.monitoring import figures, sampling
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def sessions(number, *, client=None, **fields):
    """Create sessions of a client; the given fields replace those that issuing has set."""
    client = client or ClientFactory()
    for _ in range(number):
        issue_tokens(client=client, user=UserFactory())
    RefreshToken.objects.filter(client=client).update(**fields) if fields else None
    return client


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


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("ages_in_days", [(1, 29), (25, 29)])
def test_a_sample_is_as_fair_to_old_sessions_as_to_new_ones(monkeypatch, ages_in_days, times):
    """The old ones have ended, whether they began evenly over time or mostly long ago.

    In tables of a million rows InnoDB takes each range to have twice as many.
    """
    believed = sampling._rows_between
    monkeypatch.setattr(
        sampling, "_rows_between", lambda *bounds, using: times * believed(*bounds, using=using)
    )
    monkeypatch.setattr(figures, "EXACT_UP_TO", 100)
    monkeypatch.setattr(figures, "SAMPLE", 300)
    monkeypatch.setattr(figures, "rows_by_estimate", lambda using: 1_200)
    client, now = ClientFactory(), django_timezone.now()
    newest, oldest = ages_in_days
    grown_old = [newest + (oldest - newest) * number / 900 for number in range(900, 0, -1)]
    for ages, expires_at in (
        (grown_old, now - DAY),
        ([number / 301 for number in range(300, 0, -1)], now + DAY),
    ):
        RefreshToken.objects.bulk_create(
            RefreshToken(
                pk=uuid.UUID(int=lowest_uuid7(now - age * DAY).int | 7 << 76 | 2 << 62),
                client=client,
                scope="openid",
                secret_digest=b"digest",
                nonce=b"nonce",
                issued_at=now - age * DAY,
                expires_at=expires_at,
            )
            for age in ages
        )

    live = figures.session_figures(now=now).live.get(client.pk, 0)

    if connection.vendor == "postgresql":  # It samples whole pages, and there are few here.
        assert 0 <= live <= 1_200
    else:
        assert live == pytest.approx(300, rel=0.2)


def test_a_sample_of_sessions_that_began_in_one_millisecond(monkeypatch):
    monkeypatch.setattr(figures, "EXACT_UP_TO", 2)
    monkeypatch.setattr(figures, "SAMPLE", 1_000)
    client = sessions(4)
    for number, session in enumerate(RefreshToken.objects.all()):
        RefreshToken.objects.filter(pk=session.pk).update(id=uuid.UUID(int=7 << 76 | 2 << 62 | number))

    assert figures.session_figures(now=django_timezone.now()).live == {client.pk: 4}


def test_a_table_that_is_emptied_meanwhile_has_no_sample(monkeypatch):
    monkeypatch.setattr(figures, "EXACT_UP_TO", -1)
    monkeypatch.setattr(figures, "rows_by_estimate", lambda using: 0)

    assert figures.session_figures(now=django_timezone.now()).live == {}


def test_an_unknown_database_is_not_asked_for_an_estimate(monkeypatch):
    """Backends with another name, for example CockroachDB's, have other catalogs."""
    monkeypatch.setattr(figures, "EXACT_UP_TO", 2)
    client = sessions(4)
    monkeypatch.setattr(connection, "vendor", "cockroachdb")

    found = figures.session_figures(now=django_timezone.now())

    assert found == figures.SessionFigures(total=3, is_estimate=True, live={client.pk: 4})


def test_what_waits_for_purging_is_counted_among_the_oldest(monkeypatch):
    sessions(2, expires_at=django_timezone.now() - 60 * DAY)
    sessions(1)

    assert figures.waiting_for_purge(now=django_timezone.now()) == (2, False)
    monkeypatch.setattr(figures, "_OLDEST", 1)
    assert figures.waiting_for_purge(now=django_timezone.now()) == (1, True)


def test_events_are_counted_by_day_in_utc():
    for hours in (-24, 0, 11, 13, 24 * 13, 24 * 14):
        SecurityEvent.objects.create(event=EventType.REUSE_DETECTED, at=NOW - timedelta(hours=hours))
    SecurityEvent.objects.create(event=EventType.ISSUED, at=NOW)

    found = figures.events_by_day([EventType.REUSE_DETECTED, EventType.REPLAYED], days=14, now=NOW)

    assert found[EventType.REUSE_DETECTED] == [1, *[0] * 11, 1, 2]
    assert found[EventType.REPLAYED] == [0] * 14


def test_refreshes_are_added_up_over_shards_and_days_ahead_are_left_out():
    for days, shard, count in ((0, 1, 5), (0, 2, 6), (-13, 1, 7), (-14, 1, 8), (1, 1, 9)):
        RefreshCount.objects.create(day=(NOW + days * DAY).date(), shard=shard, count=count)

    assert figures.refreshes_by_day(days=14, now=NOW) == [7, *[0] * 12, 11]
    assert str(RefreshCount.objects.get(count=7)) == "2026-02-25 7"


def test_a_naive_time_is_taken_as_it_is():
    assert clock.utc_day(datetime(2026, 3, 1, 23)) == datetime(2026, 3, 1).date()  # noqa: DTZ001
