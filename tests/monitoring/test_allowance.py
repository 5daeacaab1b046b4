from __future__ import annotations

import pytest

from django_ciam_token.monitoring import allowance
from django_ciam_token.monitoring.allowance import Allowance


@pytest.fixture
def now(monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_after_so_many_at_once_there_is_one_in_a_while(now):
    events = Allowance(at_once=3, every=10)

    assert [events.take("a") for _ in range(5)] == [True, True, True, False, False]
    assert events.take("b")
    now[0] += 9
    assert not events.take("a")
    now[0] += 1
    assert [events.take("a") for _ in range(2)] == [True, False]
    now[0] += 1_000
    assert [events.take("a") for _ in range(4)] == [True, True, True, False]


def test_what_was_asked_for_longest_ago_is_forgotten(now, monkeypatch):
    monkeypatch.setattr(allowance, "_KEYS_REMEMBERED", 2)
    events = Allowance(at_once=1, every=10)

    assert [events.take(key) for key in "abaca"] == [True, True, False, True, False]
    assert events.take("b")


def test_a_forked_process_begins_anew(now):
    events = Allowance(at_once=1, every=10)
    parents = events._lock
    events.take("a")

    events.forget()

    assert events.take("a")
    assert events._lock is not parents
