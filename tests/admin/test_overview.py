from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone as django_timezone

from django_ciam_token.admin.overview import _written
from django_ciam_token.database import local_time
from django_ciam_token.keys import signing_keys
from django_ciam_token.models import EventType, RefreshCount, SecurityEvent, SigningKey
from django_ciam_token.monitoring import figures
from django_ciam_token.templatetags.ciam_admin import ciam_overview
from tests.factories import sessions
from tests.operators import browser_of

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def overview(browser):
    return browser.get(reverse("admin:app_list", args=["django_ciam_token"])).content.decode()


def test_the_overview_shows_live_sessions_by_client(operator):
    busy, idle = sessions(3), sessions(1)
    sessions(1, revoked_at=django_timezone.now())

    page = overview(operator)

    assert '<p class="ciam-figure">4</p>' in page
    # A refresh of some of these may be refused, which only the page of a session can tell.
    assert "Blocked ones are counted as well." in page
    assert page.index(f">{busy.name}</a>") < page.index(f">{idle.name}</a>")
    assert 'width="33.3%"' in page


def test_the_overview_counts_refreshes_and_events_of_fourteen_days(operator):
    now = django_timezone.now()
    RefreshCount.objects.create(day=local_time.site_day(now), shard=1, count=4_000)
    RefreshCount.objects.create(day=local_time.site_day(now - DAY), shard=2, count=1)
    RefreshCount.objects.create(day=local_time.site_day(now - 20 * DAY), shard=2, count=7)
    for at in (now, now - 3 * DAY, now - 30 * DAY):
        SecurityEvent.objects.create(event=EventType.REUSE_DETECTED, at=at)

    page = overview(operator)

    assert '<p class="ciam-figure">4,001 <small>in 14 days, America/Chicago</small></p>' in page
    assert '<p class="ciam-figure">2 <small>in 14 days, America/Chicago</small></p>' in page


def test_the_overview_shows_the_next_change_of_a_key_and_what_waits_for_purging(operator):
    sessions(2, expires_at=django_timezone.now() - 60 * DAY)
    assert "None until a key is rotated." in overview(operator)
    key = signing_keys.rotate()

    page = overview(operator)

    assert key.kid[:8] in page or "will be retired from" in page
    assert "2 · <code>manage.py purge_tokens</code>" in page
    SigningKey.objects.all().delete()
    assert "no token can be signed" in overview(operator)


def test_the_overview_works_without_the_audit_trail_and_says_what_is_missing(operator, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUDIT_TRAIL": False}
    sessions(1)

    page = overview(operator)

    assert "AUDIT_TRAIL is off" in page
    assert "ciam-days" not in page


def test_the_overview_says_when_it_estimates(operator, monkeypatch):
    monkeypatch.setattr(figures, "EXACT_UP_TO", 1)
    sessions(3)

    page = overview(operator)

    assert "about " in page
    assert "Estimated from a sample" in page


@pytest.mark.parametrize("number", [1, 12])
@pytest.mark.parametrize("who", ["operator", "viewer"])
def test_the_overview_takes_at_most_twelve_statements(who, number, request):
    browser = request.getfixturevalue(who)
    for _ in range(number):
        sessions(1)
    overview(browser)

    with CaptureQueriesContext(connection) as queries:
        overview(browser)

    assert len(queries) <= 12, [query["sql"] for query in queries]


def test_the_figures_need_the_permission_to_view_sessions():
    assert "ciam-overview" not in overview(browser_of("view_client"))
    assert ciam_overview({}) == {"overview": None}
    assert ciam_overview({"request": RequestFactory().get("/")}) == {"overview": None}


def test_without_time_zones_a_day_is_what_the_sites_clock_shows():
    midnight = datetime(2026, 3, 1)  # noqa: DTZ001
    day = local_time.site_day(midnight + timedelta(hours=23))

    assert day == midnight.date()
    assert local_time.beginning_of(day, aware=False) == midnight


def test_an_estimate_of_none_is_few():
    assert _written(0, is_estimate=True) == "few"
