"""What fits: the columns of a list that decide are on the screen, and labels on a line."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.pages import LISTS
from tests.operators import url

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("language", ["en", "de", "zh-hans"])
def test_no_list_is_wider_than_a_screen_of_1280_pixels(settings, console, language):
    settings.LANGUAGE_CODE = language
    for name in LISTS:
        for width in (1280, 1680):
            console.set_viewport_size({**DESKTOP, "width": width})
            console.goto(url(name))
            needed, there = console.evaluate(
                "(box => [box.scrollWidth, box.clientWidth])(document.querySelector('.results'))"
            )
            assert needed <= there, f"{name} needs {needed} of {there} pixels at {width}"


@pytest.mark.parametrize("width", [768, 1280])
def test_the_overview_uses_the_width_of_the_screen(console, width):
    console.set_viewport_size({**DESKTOP, "width": width})
    console.goto(reverse("admin:app_list", args=["django_ciam_token"]))

    assert console.locator(".ciam-overview").bounding_box()["width"] > 0.85 * width


def test_no_column_is_as_narrow_as_a_letter_on_a_phone(console):
    console.set_viewport_size(PHONE)
    for name in LISTS:
        console.goto(url(name))
        rows = "[...document.querySelectorAll('#result_list tbody tr')]"
        tallest = console.evaluate(f"Math.max(...{rows}.map((row) => row.clientHeight))")
        assert tallest <= 130, f"a row of {name} is {tallest} pixels high"


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


def test_the_label_of_a_choice_stays_on_one_line(console):
    console.goto(url("client_add"))

    for label in ("email: Read your email address", "May use client credentials"):
        assert console.locator("label").filter(has_text=label).bounding_box()["height"] < 30, label
