from __future__ import annotations

import pytest

from django_ciam_token.database import age
from django_ciam_token.database.age import Instant


@pytest.fixture
def clocks(monkeypatch):
    clocks = {"monotonic": 1_000.0, "time": 1_700_000_000.0}
    for name in clocks:
        monkeypatch.setattr(age.time, name, lambda name=name: clocks[name])
    return clocks


def test_both_clocks_agree(clocks):
    instant = Instant.now()
    clocks["monotonic"] += 7
    clocks["time"] += 7

    assert instant.age() == 7


def test_the_wall_clock_counts_what_passed_while_the_machine_was_suspended(clocks):
    instant = Instant.now()
    clocks["monotonic"] += 1
    clocks["time"] += 3_600

    assert instant.age() == 3_600


def test_the_monotonic_clock_counts_while_the_wall_clock_is_slowed_down(clocks):
    instant = Instant.now()
    clocks["monotonic"] += 60

    assert instant.age() == 60


def test_a_wall_clock_that_was_set_back_makes_nothing_live_for_ever(clocks):
    instant = Instant.now()
    clocks["monotonic"] += 1
    clocks["time"] -= 86_400

    assert instant.age() == float("inf")


def test_an_instant_may_lie_in_the_past(clocks):
    assert Instant.now(ago=55).age() == 55
