"""No secret leaves in a traceback: sentry-sdk, Django's mails to ADMINS, and logs with local variables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.error_reports import operators, people, site
from tests.error_reports.site import KINDS

CASES = site.CASES
assert operators.case is people.case is site.case  # They have registered theirs.

ROOT = Path(__file__).parents[2]
SET_UPS = {
    "default": {},
    "everything": {
        "send_default_pii": True,
        "max_request_body_size": "always",
        "attach_stacktrace": True,
        "include_local_variables": True,
    },
}


@pytest.fixture(scope="module", params=SET_UPS, ids=list(SET_UPS))
def reports(request, tmp_path_factory):
    """What a site of its own process reports in each case."""
    answer = tmp_path_factory.mktemp("reports") / "reports.json"
    options = json.dumps(SET_UPS[request.param])
    command = [sys.executable, "-m", "tests.error_reports.site", options, str(answer)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return json.loads(answer.read_text())


@pytest.mark.parametrize("name", CASES)
def test_no_secret_leaves_when_a_function_of_the_site_raises(reports, name):
    report = reports[name]

    assert report["kinds"] == list(KINDS)
    assert report["leaks"] == []
