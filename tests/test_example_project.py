"""The example project, used as a newcomer uses it: with `manage.py` in its own process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import django_ciam_token

MANAGE = Path(__file__).resolve().parent.parent / "example_project" / "manage.py"


@pytest.fixture
def manage(tmp_path):
    """Run a command of the example project on its own database."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "CIAM"))
    }
    # The package that these tests import, however it was installed.
    environment["PYTHONPATH"] = str(Path(django_ciam_token.__file__).resolve().parent.parent)
    environment["DATABASE_URL"] = f"sqlite:///{tmp_path / 'example.sqlite3'}"

    def run(*arguments):
        command = [sys.executable, str(MANAGE), *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_the_demo_works_on_a_new_and_on_a_used_database(manage):
    for _ in range(2):
        demo = manage("demo", "--check")

        assert demo.returncode == 0, demo.stdout + demo.stderr
        assert "Everything happened as it should" in demo.stdout


def test_the_demo_suggests_another_port_if_its_port_is_taken(manage):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        demo = manage("demo", "--port", str(taken.getsockname()[1]))

    assert demo.returncode == 1
    assert "--port 9000" in demo.stderr


def test_the_example_passes_the_checks_and_has_no_missing_migration(manage):
    assert manage("migrate").returncode == 0

    for arguments in (("check", "--database", "default"), ("makemigrations", "--check", "--dry-run")):
        result = manage(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_example_s_own_tests_pass(manage):
    tests = manage("test", "portal")

    assert tests.returncode == 0, tests.stderr
    assert "Ran 2 tests" in tests.stderr
