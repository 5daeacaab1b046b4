"""The tests pass from the unpacked sdist, which has everything that they need."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

# All tests are collected, so everything that they import is there. These are run: quick ones of several
# layers, and those that read files of the project.
RUN = (
    "tests/docs/test_links.py",
    "tests/docs/test_reference.py",
    "tests/grants/test_refresh_token.py",
    "tests/test_api.py",
    "tests/test_layers.py",
    "tests/test_matrix.py",
    "tests/test_translations.py",
)


def check(source: Path, python: Path, site: Path) -> None:
    """Unpack the sdist, add what tests need to the environment of ``python``, and run tests there."""
    with tarfile.open(source) as archive:
        archive.extractall(site, filter="data")
    [unpacked] = site.glob("django_ciam_token-*/")
    install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, f"{unpacked}[test]"], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def pytest(*arguments: str) -> None:
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(
            command, cwd=unpacked, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        print(f"{source.name}: {done.stdout.strip().splitlines()[-1]}")

    pytest("--collect-only", "tests")
    pytest(*RUN)
