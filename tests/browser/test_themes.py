"""The product's pages in the two best-known themes of the admin."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from tests.browser.conftest import DESKTOP, PASSWORD
from tests.browser.pages import Page
from tests.served import free_port

pytestmark = pytest.mark.browser

# What a theme without the variables and classes of Django's admin breaks, in words.
BROKEN = """() => {
    const problems = [];
    const drawn = (element) => element.getClientRects().length > 0;
    const clear = "rgba(0, 0, 0, 0)";
    for (const shape of document.querySelectorAll(".ciam-chart rect")) {
        if (getComputedStyle(shape).fill === "rgb(0, 0, 0)") problems.push(shape.outerHTML);
    }
    const buttons =
        ".ciam-content [type=submit], .ciam-copy, .ciam-tool > a, .ciam-filter > summary, #searchbar";
    for (const button of [...document.querySelectorAll(buttons)].filter(drawn)) {
        const style = getComputedStyle(button);
        const framed = parseFloat(style.borderTopWidth) > 0 && style.borderTopColor !== clear;
        if (!framed && style.backgroundColor === clear) problems.push("invisible: " + button.outerHTML);
        if (style.backgroundColor === style.color) problems.push("unreadable: " + button.outerHTML);
    }
    for (const hidden of document.querySelectorAll(".ciam-hidden")) {
        if (hidden.getBoundingClientRect().width > 1) problems.push("shown: " + hidden.textContent);
    }
    for (const menu of document.querySelectorAll(".ciam-filter > :not(summary)")) {
        const style = getComputedStyle(menu);
        if (style.backgroundColor === clear) problems.push("see-through menu");
        if (style.borderTopStyle === "none") problems.push("menu without a frame");
    }
    const title = document.querySelector(".ciam-content > h1.ciam-title");
    if (document.querySelector(".ciam-content") && !(title && drawn(title))) problems.push("no title");
    const tools = [...document.querySelectorAll(".ciam-tool > a")].filter(drawn);
    tools.slice(1).forEach((tool, index) => {
        const before = tools[index].getBoundingClientRect(), now = tool.getBoundingClientRect();
        const touches = now.top < before.bottom && now.left <= before.right;
        if (touches) problems.push("run together: " + tool.textContent);
    });
    return [...new Set(problems)];
}"""


def wait_for(port):
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the site does not answer")


@pytest.fixture(scope="module", params=["unfold", "jazzmin"])
def site(request, tmp_path_factory):
    """A running site with a theme: its address, and the product's pages."""
    pytest.importorskip(request.param, reason="runs with `tox -e browser`")
    port, folder = free_port(), tmp_path_factory.mktemp(request.param)
    command = [
        sys.executable,
        "-m",
        "tests.browser.themed_site",
        request.param,
        str(port),
        str(folder / "db"),
    ]
    # What pytest has put on the path, the example project for one.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        try:
            pages = json.loads(process.stdout.readline())
            wait_for(port)
            yield f"http://127.0.0.1:{port}", {name: Page(*values) for name, values in pages.items()}
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_of_the_product_breaks_in_a_theme(chromium, site, scheme):
    address, pages = site
    context = chromium.new_context(base_url=address, viewport=DESKTOP, color_scheme=scheme)
    page = context.new_page()
    page.goto("/admin/login/?next=/admin/")
    page.locator("[name=username]").fill("operator")
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("[name=password]").press("Enter")
    page.wait_for_url("**/admin/")

    problems = {}
    for name, wanted in pages.items():
        assert wanted.visit(page).status == wanted.status, name
        if found := page.evaluate(BROKEN):
            problems[name] = found

    context.close()
    assert problems == {}
