from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from django_ciam_token.admin import key_timeline
from django_ciam_token.models import SigningKey, SigningKeyState

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def key(created, active, retired=None, removed=None, kid="k"):
    """A key whose instants are days from NOW."""
    at = [None if days is None else NOW + days * DAY for days in (created, active, retired, removed)]
    return SigningKey(
        kid=kid, algorithm="RS256", created_at=at[0], active_at=at[1], retired_at=at[2], removed_at=at[3]
    )


def test_the_picture_of_one_key_is_one_period_up_to_the_edge():
    picture = key_timeline.picture([key(-80, -80)], NOW)

    [life] = picture.lives
    [segment] = life.segments
    assert (segment.state, segment.x, segment.width, segment.ends_at) == ("active", 0.0, 100.0, None)
    assert picture.begins_at == NOW - 80 * DAY
    assert 0 < picture.now_x < 100


def test_the_picture_shows_publication_activity_and_retirement_in_order():
    old, new = key(-20, -20, 1, 2, "old"), key(0, 1, kid="new")

    first, second = key_timeline.picture([new, old], NOW).lives

    assert [segment.state for segment in first.segments] == ["published", "active"]
    assert [segment.state for segment in second.segments] == ["active", "retired"]
    assert (first.state, second.state) == (SigningKeyState.PUBLISHED, SigningKeyState.ACTIVE)
    published, active = first.segments
    assert published.x + published.width == pytest.approx(active.x, abs=0.5)


def test_the_picture_leaves_out_what_was_removed_long_ago():
    recent = key(-30, -30, -6, -5)

    assert len(key_timeline.picture([recent, key(-90, -90, -20, -10)], NOW).lives) == 1
    assert key_timeline.picture([key(-90, -90, -20, -10)], NOW) is None
    assert key_timeline.picture([], NOW) is None


def test_a_key_that_was_removed_before_it_signed_was_published_only():
    [life] = key_timeline.picture([key(-2, 1, 3, -1)], NOW).lives

    assert [segment.state for segment in life.segments] == ["published"]


def test_a_key_that_was_replaced_before_its_turn_never_signed():
    [life] = key_timeline.picture([key(-2, 1, 0.5, 3)], NOW).lives

    assert [segment.state for segment in life.segments] == ["published", "retired"]


def test_an_hour_of_publication_is_visible_next_to_a_key_of_a_year():
    old, new = key(-365, -365, 1 / 24, 2 / 24, "old"), key(0, 1 / 24, kid="new")

    published, _active = key_timeline.picture([new, old], NOW).lives[0].segments

    assert published.width > 5
    quiet = key_timeline.picture([key(-365, -365), key(-365, -365, -3, -2, "old")], NOW)
    assert quiet.begins_at == NOW - 3.75 * DAY


def test_a_key_may_be_published_for_longer_than_there_were_years_before():
    picture = key_timeline.picture([key(0, 0, 0, 365 * 2_500)], NOW)

    assert picture.begins_at == NOW


def test_the_next_event_is_the_first_to_come():
    old, new = key(-20, -20, 1, 2, "old"), key(0, 1.5, kid="new")

    assert key_timeline.next_event([new, old], NOW) == (old, SigningKeyState.RETIRED, NOW + DAY)
    assert key_timeline.next_event([key(-2, 1, 3, -1)], NOW) is None
    assert key_timeline.next_event([key(-2, -2)], NOW) is None
