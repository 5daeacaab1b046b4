"""The example project, used as a newcomer uses it: with `manage.py` in its own process."""

from __future__ import annotations

import os
import re
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

    def run(*arguments, **variables):
        command = [sys.executable, str(MANAGE), *arguments]
        return subprocess.run(
            command,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    run.environment = environment
    return run


def invitation(manage, *arguments):
    """Return what a demo prints before it waits for people."""
    command = [sys.executable, "-u", str(MANAGE), "demo", "--port", str(two_free_ports()), *arguments]
    process = subprocess.Popen(
        command, env=manage.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        return "".join(iter(process.stdout.readline, "Ctrl-C stops both servers.\n"))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def two_free_ports():
    """Return the first of two in a row."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def password_of_the_demo_is(manage, password):
    code = (
        "from django.contrib.auth.models import User\n"
        f"print(User.objects.get(username='demo').check_password({password!r}))"
    )
    return manage("shell", "-c", code).stdout.split()[-1] == "True"


def test_the_demo_works_on_a_new_and_on_a_used_database(manage):
    for _ in range(2):
        demo = manage("demo", "--check")

        assert demo.returncode == 0, demo.stdout + demo.stderr
        assert "Everything happened as it should" in demo.stdout


def test_the_check_leaves_nothing_behind(manage):
    assert manage("demo", "--check").returncode == 0

    code = (
        "from django.contrib.auth.models import User\n"
        "from django_ciam_token.models import Client, RefreshToken\n"
        "print([model.objects.count() for model in (User, Client, RefreshToken)])"
    )
    assert manage("shell", "-c", code).stdout.splitlines()[-1] == "[0, 0, 0]"


def test_the_check_fails_on_a_surprise(manage):
    demo = manage("demo", "--check", CIAM_ISSUER="http://127.0.0.1:1")

    assert demo.returncode == 1
    assert "Unexpected: http://127.0.0.1:1/.well-known/openid-configuration can't be reached" in demo.stderr


def test_a_second_demo_leaves_the_password_of_the_first_unless_it_is_told_otherwise(manage):
    password = re.search(r"password  (\S+)\n", invitation(manage))[1]

    assert "password  that of the first demo" in invitation(manage)
    assert password_of_the_demo_is(manage, password)
    new = re.search(r"password  (\S+)\n", invitation(manage, "--new-password"))[1]
    assert new != password
    assert password_of_the_demo_is(manage, new)


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
