from __future__ import annotations

import asyncio

import pytest

from tests.faults.chains import Tally
from tests.faults.wire import Answer
from tests.soak import meter as measured
from tests.soak.meter import KINDS, Meter


@pytest.fixture
def meter():
    return Meter(Tally())


def expect(meter, answer, status=200, *, seconds=0.0):
    async def request():
        await asyncio.sleep(seconds)
        return answer

    return asyncio.run(meter.expect("userinfo", status, request()))


def test_the_promised_answer_is_counted_and_measured(meter):
    answer = Answer(200, {}, {"sub": "1"})

    assert expect(meter, answer) is answer
    assert meter.requests["userinfo"] == 1
    assert [(kind, latency.count) for kind, latency in meter.read().items()] == [("all", 1), ("userinfo", 1)]
    assert (meter.unanswered, meter.errors, meter.tally.remarks) == (0, 0, [])


def test_another_answer_is_remarked_once_and_not_returned(meter):
    assert expect(meter, Answer(401, {}, "no")) is None
    assert expect(meter, Answer(401, {}, "no")) is None

    assert meter.tally.remarks == ["userinfo: 401, not 200: no"]
    assert meter.errors == 0


@pytest.mark.parametrize("status", [500, 503])
def test_an_answer_of_5xx_is_an_error_also_when_the_database_refused(meter, status):
    assert expect(meter, Answer(status, {}, "")) is None

    assert meter.errors == 1


def test_an_answer_that_never_comes_has_no_time(meter):
    assert expect(meter, None) is None

    assert meter.unanswered == 1
    assert meter.read() == {}


def test_an_answer_that_comes_too_late_counts_as_missing(meter, monkeypatch):
    monkeypatch.setattr(measured, "TIME_OUT", 0.001)

    expect(meter, Answer(200, {}, ""), seconds=0.01)

    assert meter.unanswered == 1


def test_a_reading_begins_anew(meter):
    expect(meter, Answer(200, {}, ""))
    meter.read()

    assert meter.read() == {}


def test_a_kind_of_which_nothing_was_sent_is_known(meter):
    assert dict(meter.requests) == dict.fromkeys(KINDS, 0)
