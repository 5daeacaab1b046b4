from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.cache import cache, caches

from django_ciam_token.database import outages

SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The monotonic clock, to be moved by hand."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(
        outages, "time", SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now + 1e9)
    )
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


def in_another_process():
    """What this process knows is forgotten; the cache has what it told."""
    outages.forget()


def test_another_process_learns_what_this_one_noticed(clock):
    outages.refused("default", asked_at=clock.now)
    clock.now += 3
    outages.refused("default", asked_at=clock.now - 1)
    clock.now += 2
    in_another_process()

    assert unavailable_within(3_600) == 0
    assert outages.learn("default")
    assert unavailable_within(3_600) == 5
    assert not outages.learn("default")
    assert not outages.learn("other")


def test_two_processes_know_one_outage_together(clock):
    outages.refused("default", asked_at=clock.now - 10)
    in_another_process()
    clock.now += 4
    outages.refused("default", asked_at=clock.now)
    clock.now += 1
    outages.answered("default")
    assert unavailable_within(3_600) == 1

    assert outages.learn("default")
    assert unavailable_within(3_600) == 15


def test_an_older_outage_of_another_process_replaces_none(clock):
    outages.refused("default", asked_at=clock.now)
    cached = cache.get("django_ciam_token_outage:default")
    in_another_process()
    clock.now += 60
    outages.refused("default", asked_at=clock.now - 2)
    cache.set("django_ciam_token_outage:default", cached)

    assert not outages.learn("default")
    assert unavailable_within(3_600) == 2


def test_a_newer_one_does(clock):
    outages.refused("default", asked_at=clock.now - 2)
    clock.now += 60
    cache.set("django_ciam_token_outage:default", (clock.now - 9 + 1e9, clock.now + 1e9, None))

    assert outages.learn("default")
    assert unavailable_within(3_600) == 9


@pytest.mark.parametrize("method", ["get", "set"])
def test_a_cache_that_fails_is_left_alone_for_a_while(clock, monkeypatch, method):
    calls = []

    def fail(*args):
        calls.append(args)
        raise ConnectionError

    monkeypatch.setattr(type(caches["default"]), method, fail)
    for _ in range(3):
        outages.refused("default", asked_at=clock.now)
        assert not outages.learn("default")

    assert len(calls) == 1
    assert unavailable_within(3_600) == 0


def test_a_cache_in_a_database_is_not_asked(clock, settings):
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "x"}}

    outages.refused("default", asked_at=clock.now)
    assert not outages.learn("default")
