import os

# The faults need their own servers. They are collected only with `CIAM_FAULTS=1`; `tox -e faults` runs
# without pytest.
collect_ignore_glob = [] if os.environ.get("CIAM_FAULTS") == "1" else ["test_*.py"]
