import os

import pytest

# They have an environment of their own, `tox -e interleavings-quick`.
# `tox -e interleavings` does without pytest.
collect_ignore_glob = [] if os.environ.get("CIAM_INTERLEAVINGS") == "1" else ["test_*.py"]


@pytest.fixture(autouse=True)
def traces():
    """Collect nothing: thousands of runs make one test here."""
