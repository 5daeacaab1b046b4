"""The moves again on sites of other kinds, each in a process of its own: such settings can't change later.

Users in another database than our tables are no such kind: check E008 refuses that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

pytestmark = pytest.mark.skipif(
    bool(settings.VARIANT) or not settings.HAS_BLACKLIST, reason="runs the variants, and is none"
)

ROOT = Path(__file__).parents[2]
WHAT = "(stays_signed_in and public and first) or signing_out"


@pytest.mark.parametrize(
    "variant", ["person", "member", "no_time_zones", "prefix", "script_name", "languages"]
)
def test_on_a_site_of_another_kind(variant):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov"]
    finished = subprocess.run(
        [*command, "--ds=tests.migration.settings", "tests/migration/test_moving.py", "-k", WHAT],
        cwd=ROOT,
        env={**os.environ, "CIAM_VARIANT": variant, "DATABASE_URL": "", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert finished.returncode == 0, finished.stdout[-3_000:] + finished.stderr[-1_000:]
