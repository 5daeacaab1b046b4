"""The short form for CI: a sample of the pairs on one database, and the errors that must be found."""

from __future__ import annotations

import os

import pytest
from django.db import connection

from tests.interleavings.campaign import Campaign, Size, all_groups, sample
from tests.interleavings.databases import LEVELS
from tests.interleavings.defects import DEFECTS, seeded
from tests.interleavings.operations import OPERATIONS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("as_in_production")]

SEED = int(os.environ.get("INTERLEAVINGS_SEED") or 1)
PAIRS = {"sqlite": 30, "postgresql": 2, "mysql": 2}
TRIPLES = {"sqlite": 20, "postgresql": 3, "mysql": 3}
SHORT = Size(orders=8, crashes=3, seed=SEED)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
CORE = ("refresh", "refresh, older token", "revoke, by the client")

# What finds each error, and with which pair.
FOUND_BY = {
    "the UPDATE has no condition": ("refresh", "refresh", "the_current_token_is_held"),
    "checked before it is written": ("refresh", "refresh", "the_current_token_is_held"),
    "a rotation does not look at the revocation": (
        "refresh",
        "revoke, by the client",
        "a_revoked_session_gives_no_token",
    ),
    "answered before the COMMIT": ("refresh", "introspect a refresh token", "the_current_token_is_held"),
    "judged without a second reading": ("refresh", "refresh", "answers_are_promised"),
    "after an uncertain COMMIT the rotation is not recognised": (
        "refresh",
        "introspect a refresh token",
        "events_are_reported_once",
    ),
    "a revocation ends what has ended": (
        "refresh, older token",
        "refresh, older token",
        "each_reuse_ends_one_session",
    ),
    "a reuse is answered, and nothing ends": (
        "refresh",
        "refresh, older token",
        "each_reuse_ends_one_session",
    ),
    "the end of a session is not reported": ("refresh", "revoke, by the client", "events_are_reported_once"),
}


def groups_of(*names, size=2):
    return all_groups([BY_NAME[name] for name in names], size=size)


def level_of_isolation():
    return LEVELS[connection.vendor][0]


@pytest.mark.parametrize("place", range(3))
def test_no_order_of_two_operations_breaks_anything(place):
    levels = LEVELS[connection.vendor]
    if place >= len(levels):
        pytest.skip("the database has fewer levels of isolation")
    chosen = sample(all_groups(), PAIRS[connection.vendor], seed=SEED + place)

    with Campaign(levels[place]) as campaign:
        counts = campaign.try_all([*groups_of(*CORE[:2]), *chosen], SHORT)

    print(connection.vendor, levels[place], counts)
    assert (counts.violations, counts.examples) == (0, [])
    assert counts.interleavings > counts.groups
    assert counts.crashes > 0


def test_no_order_of_three_operations_breaks_anything():
    """Of three, a sample: they have many more orders than two."""
    size = Size(orders=5, crashes=2, seed=SEED)
    chosen = sample(all_groups(size=3), TRIPLES[connection.vendor], seed=SEED)

    with Campaign(level_of_isolation(), size=3) as campaign:
        counts = campaign.try_all([*groups_of("refresh", size=3), *chosen], size)

    print(connection.vendor, counts)
    assert (counts.violations, counts.examples) == (0, [])
    assert counts.interleavings > counts.groups


def test_no_crash_of_an_exchange_breaks_anything():
    """All of them: it is the one rotation that writes more than its row."""
    with Campaign(level_of_isolation()) as campaign:
        counts = campaign.try_all(groups_of("exchange a code"), Size(orders=8, crashes=1_000))

    assert (counts.violations, counts.examples) == (0, [])
    assert counts.crashes > 40


# Once is enough, but SQLite lets nobody in between a check and a write within one transaction.
ON_SERVERS = ("checked before it is written",)


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_seeded_error_is_found(defect):
    if (connection.vendor == "sqlite") is (defect in ON_SERVERS):
        pytest.skip("it is found on another database")
    first, second, invariant = FOUND_BY[defect]
    pair = (BY_NAME[first], BY_NAME[second])

    with Campaign(level_of_isolation()) as campaign, seeded(defect):
        counts = campaign.try_group(pair, Size(orders=20, crashes=40))

    assert invariant in counts.found, counts.found


def test_a_statement_that_waits_for_a_lock_is_recognised():
    with Campaign(level_of_isolation()) as campaign:
        counts = campaign.try_group(groups_of("refresh")[0], Size(orders=12, crashes=0))

    assert counts.blocked > 0
    assert counts.violations == 0


# Few enough steps for all their orders.
SMALL = (
    ("refresh", "introspect a refresh token"),
    ("refresh, predecessor in time", "change the password"),
    ("exchange a code", "disable the user"),
    ("revoke, by the client", "introspect a refresh token"),
    ("revoke an access token", "introspect an access token"),
)


# Where BEGIN takes the lock of the whole database, these have few as well.
SMALL_ON_SQLITE = (("exchange a code", "exchange a code"),)


def test_the_orders_that_are_left_out_end_like_one_that_is_tried():
    pairs = SMALL + SMALL_ON_SQLITE if connection.vendor == "sqlite" else SMALL
    with Campaign(level_of_isolation()) as campaign:
        for first, second in pairs:
            pair = (BY_NAME[first], BY_NAME[second])
            tried = campaign.outcomes(pair, leaves_out=True)
            every = campaign.outcomes(pair, leaves_out=False)

            assert set(tried) == set(every)
            assert tried.total() < every.total()
