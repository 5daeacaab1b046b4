"""A PostgreSQL schema for each customer, with the real django-tenants."""

from __future__ import annotations

import pytest

from tests.hosts.sites import Database, require, run


@pytest.fixture(scope="module")
def passed():
    require("django_tenants")
    with Database() as database:
        return run("tenants", database.url)


@pytest.mark.parametrize(
    "scenario",
    [
        "each_refresh_is_made_in_the_schema_of_its_tenant",
        "a_token_is_not_known_to_another_tenant_and_goes_on_at_its_own",
        "each_tenant_signs_with_its_own_key_and_publishes_no_other",
        "origins_are_allowed_at_their_own_tenant_only",
        "on_an_event_loop_no_origin_is_allowed",
        "refreshes_and_events_are_written_at_their_own_tenant",
    ],
)
def test_with_a_schema_for_each_tenant(passed, scenario):
    assert scenario in passed
