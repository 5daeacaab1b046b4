"""axe finds nothing, and a strict Content-Security-Policy refuses nothing, on any page of the product."""

from __future__ import annotations

import subprocess
from urllib.parse import urlencode

import pytest
from django.urls import reverse

from tests.factories import ClientFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

POLICY = "default-src 'self'"
# Of Django's admin itself: the order of its headings, and its frame around the content.
DJANGOS = ["#header", "#nav-sidebar", "#user-tools", ".breadcrumbs", "#changelist-form .actions", "#footer"]
RUN_AXE = """async (excluded) => {
    const options = {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]};
    const found = await axe.run({exclude: excluded.map((selector) => [selector])}, options);
    return found.violations.flatMap((violation) =>
        violation.nodes.map((node) => violation.id + ": " + node.html.slice(0, 160)));
}"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The source of axe-core."""
    folder = tmp_path_factory.mktemp("axe")
    npm_install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "axe-core@4.14.1"]
    finished = subprocess.run(
        npm_install, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


@pytest.fixture
def strict(page):
    """Serve each page with the policy. What it refuses is an error in the console, which fails the test."""

    def with_policy(route):
        if route.request.resource_type != "document":
            route.continue_()
            return
        response = route.fetch(max_redirects=0)
        headers = {**response.headers, "content-security-policy": POLICY}
        route.fulfill(response=response, headers=headers)

    def begin():
        page.route("**/*", with_policy)

    return begin


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_pages_of_the_admin(console, pages, axe, scheme):
    console.emulate_media(color_scheme=scheme)
    problems = {}
    for name, address in pages.items():
        console.goto(address)
        console.evaluate(axe)
        # The rest of a user's page is Django's.
        excluded = DJANGOS if name != "user" else [*DJANGOS, ".module:not(:has(.field-ciam_sessions))"]
        if found := console.evaluate(RUN_AXE, excluded):
            problems[name] = sorted(set(found))

    assert problems == {}


def test_the_pages_of_the_admin_keep_to_a_strict_policy(console, pages, strict):
    """What the policy refuses is an error in the console, which fails the test."""
    strict()
    for address in pages.values():
        assert console.goto(address).headers["content-security-policy"] == POLICY


def public_pages():
    """Return the address of each page that people see, and what proves that it is this page."""
    client = ClientFactory(asks_consent=True, redirect_uris="https://app.example.com/callback")
    asked = {
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uris,
        "response_type": "code",
        "scope": "openid profile",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    authorize, logout = (reverse(f"django_ciam_token:{name}") for name in ("authorize", "logout"))
    return {
        f"{authorize}?{urlencode(asked)}": ".card button.primary",
        f"{authorize}?client_id=nobody": ".card h1",
        logout: ".card button",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_pages_that_people_see(console, axe, scheme):
    console.emulate_media(color_scheme=scheme)
    problems = {}
    for address, proof in public_pages().items():
        console.goto(address)
        assert console.locator(proof).count(), address
        console.evaluate(axe)
        if found := console.evaluate(RUN_AXE, []):
            problems[address] = found

    assert problems == {}


def test_the_pages_that_people_see_keep_to_a_strict_policy(console, strict):
    strict()
    for address, proof in public_pages().items():
        console.goto(address)
        assert console.locator(proof).count(), address
