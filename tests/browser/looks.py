"""What can be wrong with a page that is open in a browser: returned in words, an empty list if nothing is."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import DESKTOP

WIDTHS = (375, 768, 1024, 1280, 1680)
# Of Django's admin itself: the order of its headings, and its frame around the content.
DJANGOS = ["#header", "#nav-sidebar", "#user-tools", ".breadcrumbs", "#changelist-form .actions", "#footer"]
# The rest of a user's page is Django's.
ALL_BUT_SESSIONS = ".module:not(:has(.field-ciam_sessions))"
# Style sheets of scripts are allowed under every policy. Half of a change of colours can't be judged.
STAND_STILL = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("*, *::before, *::after { transition: none !important; animation: none !important; }");
    document.adoptedStyleSheets = [sheet];
}"""
RUN_AXE = """async (excluded) => {
    const options = {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]};
    const found = await axe.run({exclude: excluded.map((selector) => [selector])}, options);
    return found.violations.flatMap((violation) =>
        violation.nodes.map((node) => violation.id + ": " + node.html.slice(0, 160)));
}"""
# The names of the tools that cover a line of the title.
TOOLS_OVER_TITLE = """() => {
    const titles = [...document.querySelectorAll("#content > h1, #content > h2, .ciam-title")];
    const lines = titles.flatMap((title) => {
        const range = document.createRange();
        range.selectNodeContents(title);
        return [...range.getClientRects()];
    });
    const covers = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return [...document.querySelectorAll(".object-tools a")]
        .filter((tool) => lines.some((line) => covers(tool.getBoundingClientRect(), line)))
        .map((tool) => tool.textContent).join(", ");
}"""

# The labels whose box is stretched, so that its mark is far away from them.
FAR_FROM_BOX = """() => [...document.querySelectorAll(".ciam-choice input")]
    .filter((box) => box.getBoundingClientRect().width > 40)
    .map((box) => box.parentElement.textContent.trim()).join(", ")"""


def barriers(page: Any, axe: str, *, is_users: bool = False) -> list[str]:
    """Return what axe finds, in light and in dark."""
    page.evaluate(STAND_STILL)
    page.evaluate(axe)
    excluded = [*DJANGOS, ALL_BUT_SESSIONS] if is_users else DJANGOS
    found = []
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {problem}" for problem in sorted(set(page.evaluate(RUN_AXE, excluded)))]
    return found


def misfits(page: Any, *, is_users: bool = False) -> list[str]:
    """Return at which widths the page scrolls sideways, a tool lies over its title, or a label is lost."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({**DESKTOP, "width": width})
        if (widest := page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"{widest} pixels wide on {width}")
        if not is_users and (over := page.evaluate(TOOLS_OVER_TITLE)):
            found.append(f"{over} lies over the title at {width}")
        if far := page.evaluate(FAR_FROM_BOX):
            found.append(f"{far} is far from its box at {width}")
    page.set_viewport_size(DESKTOP)
    return found
