from __future__ import annotations

import os
import threading
import time
from functools import partial

import pytest
from django.db import OperationalError, connections

from django_ciam_token.models import RefreshCount
from django_ciam_token.monitoring import refresh_counter
from django_ciam_token.monitoring.refresh_counter import RefreshCounter, count_refresh
from tests.locks import held_elsewhere, row_locks

pytestmark = pytest.mark.django_db


@pytest.fixture
def counter(monkeypatch):
    counter = RefreshCounter()
    monkeypatch.setattr(refresh_counter, "counter", counter)
    return counter


def written():
    return sum(RefreshCount.objects.values_list("count", flat=True))


def test_the_first_refresh_is_written_and_then_only_once_a_minute(counter, monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    for _ in range(3):
        counter.add()
    assert written() == 1

    now[0] += 60
    counter.add()

    assert written() == 4
    assert RefreshCount.objects.count() == 1


@pytest.mark.parametrize(("zone", "day"), [("UTC", "2026-03-10"), ("Asia/Kathmandu", "2026-03-11")])
def test_a_refresh_counts_on_the_day_that_it_is_at_the_site(counter, settings, time_machine, zone, day):
    settings.TIME_ZONE = zone
    time_machine.move_to("2026-03-10T20:00:00Z")

    counter.add()

    assert str(RefreshCount.objects.get().day) == day


def test_a_refresh_is_counted(counter, web_client, first_tokens, refresh, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200

    assert written() == 1


def test_nothing_is_counted_while_the_audit_trail_is_off(counter, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUDIT_TRAIL": False}

    count_refresh()

    assert written() == 0


def test_when_the_database_is_unavailable_no_count_is_lost(counter, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(refresh_counter, "_add", fail)
        counter.add()
    assert "could not be written: OperationalError" in caplog.text
    assert written() == 0

    counter._written_at.clear()
    counter.add()

    assert written() == 2


def test_two_processes_may_begin_the_same_row_at_once(counter, monkeypatch):
    day = refresh_counter.site_day(refresh_counter.timezone.now())
    RefreshCount.objects.create(day=day, shard=counter._shard, count=10)
    update = refresh_counter.RefreshCount._default_manager.get_queryset().__class__.update
    calls = []

    def late(rows, **fields):
        calls.append(1)
        return 0 if len(calls) == 1 else update(rows, **fields)  # The other process had not created it yet.

    monkeypatch.setattr("django.db.models.QuerySet.update", late)
    counter.add()

    assert written() == 11


def test_a_forked_process_does_not_write_what_its_parent_counted(counter, monkeypatch):
    counter.add()
    counter.add()
    monkeypatch.setattr(counter, "_process", os.getpid() + 1)

    counter.add()

    assert written() == 2


def test_threads_lose_no_count(counter):
    counter._is_due = lambda tenant: False
    threads = [threading.Thread(target=lambda: [counter.add() for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    del counter._is_due
    counter.add()

    assert written() == 2_001


def test_what_one_tenant_counts_is_not_written_by_the_requests_of_another(counter, monkeypatch):
    for schema in ("blue", "blue", "blue", "green"):
        monkeypatch.setattr(connections["default"], "schema_name", schema, raising=False)
        counter.add()

    # The first of each. Two of blue's wait for a request of blue's.
    assert written() == 2
    assert [sum(counted.values()) for counted in counter._counted.values()] == [2]


def test_a_minute_has_passed_if_either_clock_says_so(counter, monkeypatch):
    counter.add()
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 61)

    counter.add()

    assert written() == 2


@pytest.mark.django_db(transaction=True)
def test_a_refresh_does_not_wait_for_somebody_who_holds_the_row(counter, caplog):
    counter.add()
    shard = counter._shard
    counter._written_at.clear()
    with held_elsewhere(partial(row_locks, RefreshCount)):
        begun_at = time.monotonic()
        counter.add()
        assert time.monotonic() - begun_at < 1
    assert "could not be written: OperationalError" in caplog.text

    counter._written_at.clear()
    counter.add()

    assert written() == 3
    assert counter._shard == (shard + 1) % 16
