"""The faults for CI: every fault on every database, with a small load."""

from __future__ import annotations

import os

import pytest

from tests.faults import campaign, table
from tests.faults.servers import DATABASES


@pytest.mark.parametrize("database", DATABASES)
def test_no_fault_loses_a_session_and_every_thief_is_caught(database):
    seed = int(os.environ.get("FAULTS_SEED") or 1)

    rows = campaign.run([database], size=campaign.QUICK, seed=seed, quick=True)

    print(table.render(rows))
    assert [(row.fault, row.problems) for _, row in rows if row.problems] == []
