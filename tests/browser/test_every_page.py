"""Every page: axe finds nothing, a strict Content-Security-Policy refuses nothing, and it fits the screen."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from django.contrib import admin
from django.test.signals import template_rendered
from django.urls import resolve, reverse

import django_ciam_token
from django_ciam_token.models import Client, Consent, RefreshToken, SecurityEvent, SigningKey
from tests.browser import looks
from tests.browser.pages import people_pages
from tests.browser.rows import CALLBACK
from tests.operators import browser_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

POLICY = "default-src 'self'"
TEMPLATES = Path(django_ciam_token.__file__).parent / "templates"


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
def every_page(console, pages):
    """Return a function that goes from page to page: the name of each, while the browser shows it."""
    # The browser stays on the page whose form goes there.
    console.route(f"{CALLBACK}*", lambda route: route.fulfill(status=204))

    def walk():
        for name, wanted in {**pages, **people_pages()}.items():
            assert wanted.visit(console).status == wanted.status, name
            yield name

    return walk


@pytest.fixture
def strict(console):
    """Serve each page with the policy. What it refuses is an error in the console, which fails the test."""

    def with_policy(route):
        response = route.fetch(max_redirects=0)
        own = response.headers.get("content-security-policy", "")
        # The page whose form sends itself has a stricter one.
        policy = own if own.startswith("default-src 'none'") else POLICY
        route.fulfill(response=response, headers={**response.headers, "content-security-policy": policy})

    console.route(re.compile(r"://[^/]+/(admin|oauth2)/"), with_policy)


@pytest.fixture
def rendered():
    """The names of the product's templates that were rendered so far."""
    names = set()

    def note(template, **_):
        names.add(template.name)

    template_rendered.connect(note)
    yield names
    template_rendered.disconnect(note)


def test_every_page_keeps_to_a_strict_policy_and_fits_the_screen(console, strict, every_page, rendered):
    problems = {}
    for name in every_page():
        if found := looks.misfits(console, is_users=name == "user"):
            problems[name] = found

    assert problems == {}
    ours = {file.relative_to(TEMPLATES).as_posix() for file in TEMPLATES.rglob("*.html")}
    assert ours - rendered == set(), "add a page that has them to tests/browser/pages.py"


def test_axe_finds_nothing_on_any_page(console, axe, every_page):
    problems = {}
    for name in every_page():
        if found := looks.barriers(console, axe, is_users=name == "user"):
            problems[name] = found

    assert problems == {}


def test_every_address_of_the_admin_is_in_the_list_of_pages(pages):
    """What an operator can open: no addresses that only answer forms, and none that are always refused."""
    browser = browser_of(is_superuser=True, username="root")
    listed = {resolve(page.address.partition("?")[0]).url_name for page in pages.values()}
    missing = set()
    for model in (Client, Consent, RefreshToken, SecurityEvent, SigningKey):
        for pattern in admin.site.get_model_admin(model).urls:
            # History is Django's own.
            if pattern.name is None or pattern.name in listed or pattern.name.endswith("_history"):
                continue
            needs_a_row = "<path:" in str(pattern.pattern)
            address = reverse(f"admin:{pattern.name}", args=[model.objects.first().pk] if needs_a_row else [])
            if browser.get(address).status_code == 200:
                missing.add(pattern.name)

    assert missing == set()
