"""`manage.py demo` in a real browser: two origins, two tabs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import django_ciam_token
from tests.browser.conftest import DESKTOP
from tests.test_example_project import two_free_ports

pytestmark = pytest.mark.browser

MANAGE = Path(__file__).resolve().parents[2] / "example_project" / "manage.py"
PRINTED = re.compile(r"(http://127\.0\.0\.1:\d+/)\n\n    user      (\S+)\n    password  (\S+)\n")


@pytest.fixture
def demo(tmp_path):
    """A demo that runs; yields the address, the user and the password that it printed."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "CIAM"))},
        "PYTHONPATH": str(Path(django_ciam_token.__file__).resolve().parent.parent),
        "PYTHONUNBUFFERED": "1",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'demo.sqlite3'}",
    }
    process = subprocess.Popen(
        [sys.executable, str(MANAGE), "demo", "--port", str(two_free_ports())],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    printed = ""
    try:
        for line in process.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        yield PRINTED.search(printed).groups()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_people_sign_in_refresh_in_two_tabs_and_sign_out(chromium, demo, shoot):
    address, username, password = demo
    context = chromium.new_context(viewport=DESKTOP, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(15_000)
    errors = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    # The login page has no icon.
    context.on(
        "console",
        lambda message: (
            errors.append(f"{message.text} {message.location['url']}")
            if message.type == "error" and not message.location["url"].endswith("favicon.ico")
            else None
        ),
    )

    page.goto(address)
    page.get_by_role("button", name="Sign in").wait_for()
    shoot(page, "demo-signed-out")
    page.get_by_role("button", name="Sign in").click()
    page.fill("#id_username", username)
    page.fill("#id_password", password)
    page.click("[type=submit]")
    page.get_by_text("preferred_username").wait_for()
    assert page.url == address
    assert '"nonce"' in page.inner_text("#id-token")
    assert page.inner_text("#name") == username

    with context.expect_page() as opened:
        page.get_by_role("link", name="Open another tab").click()
    other = opened.value
    other.get_by_text("preferred_username").wait_for()
    for number in (1, 2, 3):
        page.get_by_role("button", name="Refresh in all tabs at once").click()
        lines = [tab.locator("#log li:not(.none)") for tab in (page, other)]
        for line in lines:
            line.nth(number - 1).wait_for()
        ours, theirs = (line.first.inner_text().split("refresh token ")[1] for line in lines)
        assert ours == theirs
    # One after the other, each tab with the token that the other one got.
    page.get_by_role("button", name="Refresh", exact=True).click()
    other.get_by_role("button", name="Refresh", exact=True).click()
    for tab in (page, other):
        tab.locator("#log li").nth(3).wait_for()
    shoot(page, "demo-signed-in")

    page.get_by_role("button", name="Sign out").click()
    for tab in (page, other):
        tab.get_by_role("button", name="Sign in").wait_for()
    assert page.url == address
    page.get_by_role("button", name="Sign in").click()
    page.locator("#id_username").wait_for()
    context.close()
    assert errors == []
