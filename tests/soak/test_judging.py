from __future__ import annotations

from dataclasses import replace

import pytest

from tests.soak import report
from tests.soak.judging import Verdict, judge, quarter, slope
from tests.soak.records import Latency, Outcome, Record, Sample, Table, read, resident_memory

MIB = 2**20
STATUS = "Name:\tgunicorn\nVmHWM:\t   99000 kB\nVmRSS:\t   81234 kB\nThreads:\t5\n"


def sample(
    minute, *, memory=0, connections=6, p95=0.02, rows=500, dead=100, size=0, kind="refresh", count=900
):
    table = Table(rows=rows, dead=dead, size=MIB + size, indexes=MIB)
    return Sample(
        at=minute * 60.0,
        memory={"11": 80 * MIB + memory, "12": 81 * MIB},
        connections=connections,
        tables={"refreshtoken": table},
        latencies={kind: Latency(count, p95 / 4, p95, p95 * 2)},
    )


def run(of=lambda minute: {}, *, minutes=60, **outcome):
    """Return a record of a run in which the samples differ from ordinary ones by what `of` returns."""
    fields = {"requests": {"refresh": 54_000}, "happened": {"purges": 120}, **outcome}
    samples = [sample(minute, **of(minute)) for minute in range(1, minutes + 1)]
    return Record(2, 9, samples, Outcome(**fields))


def broken(record):
    return [finding.rule for finding in judge(record) if finding.verdict is Verdict.BROKEN]


def too_short(record):
    return [finding.rule for finding in judge(record) if finding.verdict is Verdict.TOO_SHORT]


def test_a_steady_run_keeps_every_rule():
    assert {finding.verdict for finding in judge(run())} == {Verdict.KEPT}


def test_memory_that_grows_for_the_whole_hour_is_found():
    leaking = run(lambda minute: {"memory": minute * MIB // 4})

    assert broken(leaking) == ["memory of each worker stays"]


def test_memory_that_grows_only_until_everything_is_loaded_is_no_leak():
    assert broken(run(lambda minute: {"memory": min(minute, 12) * 3 * MIB})) == []


def test_memory_that_goes_up_and_down_is_no_leak():
    assert broken(run(lambda minute: {"memory": minute % 2 * 20 * MIB})) == []


def test_more_connections_than_threads_are_found():
    at_once = run(lambda minute: {"connections": 10 if minute == 7 else 6})

    assert broken(at_once) == ["connections bounded by the threads"]


def test_answers_that_take_longer_and_longer_are_found():
    slower = run(lambda minute: {"p95": minute**2 / 10_000})

    assert broken(slower) == ["p95 of the last quarter within twice that of the second"]


def test_one_slow_minute_is_not_held_against_a_run():
    assert broken(run(lambda minute: {"p95": 5.0 if minute == 58 else 0.02})) == []


def test_a_few_slow_requests_of_a_rare_kind_say_nothing():
    rare = run(lambda minute: {"p95": 0.02 * minute, "kind": "discovery", "count": 3})

    assert broken(rare) == []
    assert too_short(rare) == ["p95 of the last quarter within twice that of the second"]


@pytest.mark.parametrize(
    ("growing", "rule"),
    [
        (lambda minute: {"rows": minute * 100}, "rows of each table bounded"),
        (lambda minute: {"dead": minute * 1_000}, "dead rows of each table bounded"),
        (lambda minute: {"size": minute * MIB}, "bytes of each table and its indexes bounded"),
    ],
)
def test_a_table_that_purging_and_vacuum_do_not_keep_small_is_found(growing, rule):
    assert broken(run(growing)) == [rule]


def test_a_table_that_is_full_until_the_next_purge_is_not_growing():
    assert broken(run(lambda minute: {"rows": 500 + minute % 5 * 100, "dead": minute % 7 * 500})) == []


@pytest.mark.parametrize(
    ("outcome", "rule"),
    [
        ({"lost": 1}, "no honest client lost"),
        ({"wrongly_accepted": 1}, "nothing wrongly accepted"),
        ({"errors": 1}, "no answer of 5xx"),
        ({"unanswered": 55}, "answers in time, but for one in a thousand"),
        ({"remarks": ["userinfo was answered 401"]}, "every answer as promised"),
        ({"requests": {"refresh": 54_000, "revoke": 0}}, "everything happened"),
        ({"requests": {}}, "everything happened"),
        ({"happened": {"purges": 0}}, "everything happened"),
    ],
)
def test_one_thing_that_went_wrong_breaks_its_rule(outcome, rule):
    assert broken(run(**outcome)) == [rule]


def test_an_answer_that_did_not_come_may_happen_once_in_a_thousand():
    assert broken(run(unanswered=54)) == []


def test_a_worker_that_was_replaced_is_found():
    record = run()
    last = record.samples[-1]
    replaced = replace(last, memory={"11": last.memory["11"], "13": 80 * MIB})

    found = broken(replace(record, samples=[*record.samples[:-1], replaced]))

    assert "the same workers all the time" in found


def test_a_run_of_two_minutes_is_too_short_for_what_has_to_settle_but_not_for_the_rest():
    record = run(minutes=2, errors=1)

    assert broken(record) == ["no answer of 5xx"]
    assert "memory of each worker stays" in too_short(record)
    assert "rows of each table bounded" in too_short(record)


def test_a_run_without_a_sample_is_judged_too():
    assert broken(run(minutes=0)) == ["the same workers all the time", "connections bounded by the threads"]


def test_each_sample_is_in_one_quarter():
    samples = run(minutes=10).samples

    assert [one.at / 60 for number in (1, 2, 3, 4) for one in quarter(samples, number)] == [*range(1, 11)]
    assert [one.at / 60 for one in quarter(samples, 2)] == [3, 4, 5]


def test_the_slope_is_that_of_the_line_through_all_points():
    assert slope([(0.0, 5.0), (10.0, 25.0), (20.0, 45.0)]) == pytest.approx(2.0)
    assert slope([(3.0, 5.0)]) == 0.0


def test_a_record_is_read_as_it_was_written():
    record = run(minutes=3, remarks=["one"])

    assert read(record.written()) == record


def test_resident_memory_is_read_from_the_status_of_a_process():
    assert resident_memory(STATUS) == 81_234 * 1024
    assert resident_memory("Name:\tgunicorn\nState:\tZ (zombie)\n") == 0


def test_percentiles_are_of_the_ordered_times():
    assert Latency.of([number / 100 for number in range(100, 0, -1)]) == Latency(100, 0.51, 0.96, 1.0)
    assert Latency.of([0.5]) == Latency(1, 0.5, 0.5, 0.5)


def test_a_long_run_is_shown_in_twenty_lines_with_the_last_one_among_them():
    lines = report.by_time(run()).splitlines()

    assert len(lines) == 2 + 20
    assert lines[-1].startswith("| 60.0 |")


def test_the_report_names_what_is_broken():
    shown = report.verdict(judge(run(lost=3)))

    assert "| no honest client lost | BROKEN | 3 lost |" in shown
