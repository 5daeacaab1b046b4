"""How wide pages are: the columns that decide are on the screen, and nothing is cut off on a phone."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import DESKTOP
from tests.browser.pages import LISTS
from tests.operators import url

# The names of the tools that cover a line of the title.
TOOLS_OVER_TITLE = """() => {
    const lines = [...document.querySelectorAll("#content > h1, #content > h2")].flatMap((title) => {
        const range = document.createRange();
        range.selectNodeContents(title);
        return [...range.getClientRects()];
    });
    const covers = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return [...document.querySelectorAll(".object-tools a")]
        .filter((tool) => lines.some((line) => covers(tool.getBoundingClientRect(), line)))
        .map((tool) => tool.textContent).join(", ");
}"""

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_no_list_is_wider_than_a_screen_of_1280_pixels(console):
    for name in LISTS:
        for width in (1280, 1680):
            console.set_viewport_size({**DESKTOP, "width": width})
            console.goto(url(name))
            needed, there = console.evaluate(
                "(box => [box.scrollWidth, box.clientWidth])(document.querySelector('.results'))"
            )
            assert needed <= there, f"{name} needs {needed} of {there} pixels at {width}"


def test_no_page_scrolls_sideways_and_no_tool_lies_over_a_title(console, pages):
    problems = []
    for name, address in pages.items():
        for width in (375, 768, 1024, 1280, 1680):
            console.set_viewport_size({**DESKTOP, "width": width})
            console.goto(address)
            if (widest := console.evaluate("document.documentElement.scrollWidth")) > width:
                problems.append(f"{name} is {widest} pixels wide on {width}")
            # The page of a user is Django's.
            if name != "user" and (over := console.evaluate(TOOLS_OVER_TITLE)):
                problems.append(f"{over} lies over the title of {name} at {width}")

    assert problems == []


def test_a_filter_is_a_menu_above_the_list_that_opens_without_a_script(console):
    context = console.context.browser.new_context(
        java_script_enabled=False, storage_state=console.context.storage_state(), viewport=DESKTOP
    )
    page = context.new_page()
    page.goto(console.url.split("/admin/")[0] + url("refreshtoken_changelist"))
    assert page.locator("#changelist-filter").count() == 0

    page.get_by_text("State: All").click()
    page.get_by_role("link", name="revoked: a superseded refresh token was used").click()

    page.get_by_text("State: revoked: a superseded refresh token was used").wait_for()
    assert page.locator("#result_list tbody tr").count() == 3
    page.get_by_role("link", name="Clear all filters").click()
    assert page.locator("#result_list tbody tr").count() == 12
    context.close()


def test_times_in_a_list_have_seconds_and_a_zone_in_their_tooltip(console):
    console.goto(url("refreshtoken_changelist"))

    time = console.locator("#result_list .field-last_used time").nth(11)

    assert re.fullmatch(r"now|\d+ s ago", time.inner_text())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?:UTC|[+-]\d\d:\d\d)", time.get_attribute("title"))
