"""The page that the tutorial ends with, in a browser."""

from __future__ import annotations

import pytest

from tests.docs.reader import TUTORIAL, Reader

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site of the tutorial, served, with its page."""
    reader = Reader(tmp_path_factory.mktemp("tutorial"))
    reader.follow(TUTORIAL.read_text().partition("## 7.")[0])
    yield reader
    reader.close()


@pytest.fixture
def page(chromium, site):
    """The page in a new window, after Alice has signed in."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{site.port}/app")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Email").fill("alice@example.com")
    page.get_by_label("Password").fill("only-a-tutorial")
    page.get_by_role("button", name="Log in").click()
    see(page, "Signed in. Refreshes of this page: 0")
    see(page, "1001")
    yield page
    context.close()


def see(page, text):
    page.get_by_text(text).wait_for()


def test_the_page_of_the_tutorial_stays_signed_in_until_its_sessions_are_ended(page, site):
    page.reload()
    see(page, "Signed in. Refreshes of this page: 1")
    other = page.context.new_page()
    other.goto(page.url)
    see(other, "Signed in. Refreshes of this page: 1")
    see(other, "1001")

    site.type_block("$ python manage.py revoke_sessions --user alice@example.com --no-input\n…\n")
    page.reload()
    see(page, "Signed out")
    see(other, "Signed out")

    # She is still logged in at the site. The tab that did nothing is signed in again as well, and refreshes.
    page.get_by_role("button", name="Sign in").click()
    see(page, "1001")
    see(other, "Signed in. Refreshes of this page: 2")
    see(other, "1001")


def test_the_page_of_the_tutorial_signs_out(page):
    page.get_by_role("button", name="Sign out").click()
    see(page, "Signed out")

    page.reload()
    see(page, "Signed out")
