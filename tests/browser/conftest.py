"""A real headless Chromium, driven by Playwright; see `tox -e browser`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.urls import reverse

if TYPE_CHECKING:
    from tests.browser.pages import Page

PASSWORD = "correct horse battery staple"
PHONE = {"width": 375, "height": 812}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if not os.environ.get("CIAM_REQUIRE_BROWSER"):
        pytest.importorskip("playwright", reason="runs with `tox -e browser`")
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail("There is no chromium; install it with: apt-get install chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    # Themes of the admin have their fonts from other hosts, and a page would wait for those.
    arguments.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1")
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        # Playwright's synchronous interface runs an event loop in this thread, which the ORM would reject.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, live_server: Any) -> Iterator[Any]:
    """A new window. Any error that a page logs fails the test."""
    context = chromium.new_context(base_url=live_server.url, viewport=DESKTOP, locale="en-GB")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(15_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def hear(message: Any) -> None:
        # The console reports a refused page too, and some tests expect one.
        is_refused = re.search("status of (400|403)", message.text) is not None
        is_expected = is_refused or message.location["url"].endswith("favicon.ico")
        if message.type == "error" and not is_expected:
            errors.append(f"{message.text} {message.location['url']}")

    page.on("console", hear)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def signed_in(page: Any, live_server: Any) -> Callable[[str], Any]:
    """Sign an operator in."""

    def sign_in(username: str) -> Any:
        page.goto(reverse("admin:login"))
        page.get_by_label("Username").fill(username)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/admin/")
        return page

    return sign_in


@pytest.fixture
def pages(live_server: Any) -> dict[str, Page]:
    """The admin's pages, by name, on a site with rows."""
    from tests.browser.pages import admin_pages
    from tests.browser.rows import fill

    return admin_pages(fill())


@pytest.fixture
def console(signed_in: Callable[[str], Any], pages: dict[str, Page]) -> Any:
    """The browser of an operator who may do everything, on a site with rows."""
    from tests.factories import UserFactory

    operator = UserFactory(username="operator", is_staff=True, is_superuser=True)
    operator.set_password(PASSWORD)
    operator.save()
    return signed_in("operator")


@pytest.fixture
def shoot() -> Callable[[Any, str], None]:
    """Save screenshots of a page: light, dark, and as wide as a phone."""
    folder = Path(os.environ.get("CIAM_SCREENSHOTS", ".ci/reports/screenshots"))

    def shoot(page: Any, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=folder / f"{name}-{scheme}.png", full_page=True)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(PHONE)
        page.screenshot(path=folder / f"{name}-phone.png", full_page=True)
        # The window, not an element: what sticks out of that makes the whole page scroll sideways.
        widest = page.evaluate("document.documentElement.scrollWidth")
        page.set_viewport_size(DESKTOP)
        assert widest <= PHONE["width"], f"{name} is {widest} pixels wide on a phone"

    return shoot
