from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.utils import translation
from django.utils.timezone import override

from django_ciam_token.admin import cells
from django_ciam_token.models import RefreshToken
from tests.operators import url

NOW = datetime(2026, 3, 29, 0, 30, 15, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(0), "now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=2, seconds=59), "2 min ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(days=59), "59 d ago"),
        (timedelta(days=60), "2026-01-28"),
        (-timedelta(minutes=90), "in 1 h"),
    ],
)
def test_a_time_is_told_by_its_distance(distance, words):
    with override("UTC"):
        assert f">{words}</time>" in cells.ago(NOW - distance, NOW)


def test_the_tooltip_of_a_time_has_seconds_and_the_zone():
    with override("Europe/Berlin"):
        cell = cells.ago(NOW, NOW)
        later = cells.ago(NOW + timedelta(hours=1), NOW)

    assert 'title="2026-03-29 01:30:15 +01:00"' in cell
    assert 'datetime="2026-03-29T01:30:15+01:00"' in cell
    assert 'title="2026-03-29 03:30:15 +02:00"' in later  # The clocks went forward between the two.


def test_a_time_is_told_in_the_operators_language():
    with translation.override("de"):
        assert "vor 2 Min." in cells.ago(NOW - timedelta(minutes=2), NOW)


def test_what_a_request_sent_is_escaped():
    cell = cells.place("192.0.2.1", '"><script>alert(1)</script>')

    assert "<script>" not in cell
    assert "<b>" not in cells.narrow("<b>_x") + cells.clipped("<b>")


@pytest.mark.parametrize(
    ("reason", "words"), [("reuse", "reuse"), ("client", "ended by app"), ("of a later version", "revoked")]
)
@pytest.mark.django_db
def test_the_list_says_in_a_word_or_two_why_a_session_ended(operator, session, reason, words):
    RefreshToken.objects.update(revoked_at=NOW, revoked_reason=reason)

    page = operator.get(url("refreshtoken_changelist")).content.decode()

    assert f">{words}</span>" in page


@pytest.mark.django_db
def test_the_filters_are_menus_above_the_list(operator, session):
    page = operator.get(url("refreshtoken_changelist"), {"state": "live"}).content.decode()

    assert page.count('<details class="ciam-filter') == 3
    assert "State: <strong>live or blocked</strong>" in page
    assert page.index("ciam-filters") < page.index("result_list")
    assert "changelist-filter" not in page
