from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from django_ciam_token.database import outages

SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The monotonic clock, to be moved by hand."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(outages, "time", SimpleNamespace(monotonic=lambda: clock.now))
    outages.forget()
    yield clock
    outages.forget()


def unavailable_within(seconds):
    return outages.unavailable_within(seconds * SECOND, using="default") / SECOND


def test_without_a_refusal_there_was_no_outage():
    outages.answered("default")

    assert unavailable_within(3_600) == 0


def test_an_outage_lasts_from_the_first_refusal_to_the_next_answer(clock):
    for _ in range(10):
        outages.refused("default", asked_at=clock.now)
        clock.now += 4
    outages.answered("default")
    clock.now += 100

    assert unavailable_within(3_600) == 40
    assert unavailable_within(110) == 10  # Of the latest 110 seconds.
    assert unavailable_within(50) == 0


def test_an_outage_that_goes_on_counts_up_to_now(clock):
    outages.refused("default", asked_at=clock.now - 3)

    assert unavailable_within(3_600) == 3


def test_a_process_that_idles_after_one_refusal_does_not_count_the_hour(clock):
    outages.refused("default", asked_at=clock.now)
    clock.now += 3_600
    outages.answered("default")

    assert unavailable_within(7_200) == 5


def test_a_later_outage_replaces_the_one_before(clock):
    outages.refused("default", asked_at=clock.now - 20)
    outages.answered("default")
    clock.now += 100
    outages.refused("default", asked_at=clock.now - 1)
    outages.answered("default")

    assert unavailable_within(3_600) == 1


def test_a_refusal_long_after_the_last_one_is_another_outage(clock):
    outages.refused("default", asked_at=clock.now)
    clock.now += 600
    outages.refused("default", asked_at=clock.now - 1)

    assert unavailable_within(3_600) == 1


def test_each_database_has_its_own(clock):
    outages.refused("other", asked_at=clock.now - 2)

    assert unavailable_within(3_600) == 0
