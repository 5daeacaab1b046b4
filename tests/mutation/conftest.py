import sys

# The list of equivalents is TOML, which Python 3.10 can't read.
collect_ignore_glob = ["test_*.py"] if sys.version_info < (3, 11) else []
