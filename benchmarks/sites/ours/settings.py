"""Our package, set up as in its documentation.

BENCHMARK_ALGORITHM chooses how tokens are signed; BENCHMARK_AUDIT_TRAIL=0 switches the audit trail off.
"""

import os

from benchmarks.sites.common import *  # noqa: F403
from benchmarks.sites.common import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_ciam_token"]
ROOT_URLCONF = "benchmarks.sites.ours.urls"
CIAM_TOKEN = {
    "ISSUER": "https://id.example.com",
    "AUDIT_TRAIL": os.environ.get("BENCHMARK_AUDIT_TRAIL") != "0",
    "SIGNING_ALGORITHM": os.environ.get("BENCHMARK_ALGORITHM", "RS256"),
}
