"""Every block of Python is run, page by page, as a reader would put it into a site."""

from __future__ import annotations

import ast
import os
import re
from types import SimpleNamespace

import pytest
from django.contrib import admin
from django.test import override_settings
from django.urls import include, path

from django_ciam_token.conf import ciam_settings, option_names
from tests.docs.blocks import PAGES, blocks
from tests.docs.pages import ROOT
from tests.factories import ClientFactory, UserFactory

# `test_tutorial` follows it, in a site of its own.
FOLLOWED = {ROOT / "docs" / "tutorial.md"}
LANGUAGES = {"python", "console", "sh", "json"}
# What is shown, and can't be run here: configuration of other software, pages, scripts of a browser.
SHOWN = {"cron", "html", "ini", "js", "nginx", "po", "sql", "text"}
# A block that is not run says why. Before you raise the number, see whether the block can't be made to run.
MOST_NOT_RUN = 8

ELSEWHERE = re.compile(r"^ *\.\.\.,\n|(?<=[{\[])\.\.\., ", re.MULTILINE)


@pytest.fixture(autouse=True)
def _the_admin_stays_as_it_is():
    before = dict(admin.site._registry)
    yield
    admin.site._registry.clear()
    admin.site._registry.update(before)


def site():
    """Return what the files have that a reader adds a block to."""
    return {
        "CIAM_TOKEN": {"ISSUER": "https://id.example.com"},
        "DATABASES": {"default": {"ENGINE": "django.db.backends.postgresql"}},
        "INSTALLED_APPS": [],
        "LOGGING": {"handlers": {"console": {}}},
        "MIDDLEWARE": [],
        "REST_FRAMEWORK": {},
        "SECRET_KEY": "x" * 50,
        "TemplateView": SimpleNamespace(as_view=lambda **_: lambda request: None),
        "urlpatterns": [],
        "include": include,
        "path": path,
        "os": os,
        "__name__": "portal.documented",
    }


def run(block, namespace):
    """Run one block; three dots in a list or a dict stand for what is there already."""
    code = ELSEWHERE.sub("", block.code)
    tree = ast.parse(code, filename=block.place)
    ast.increment_lineno(tree, block.line)
    exec(compile(tree, block.place, "exec"), namespace)  # noqa: S102 - it is ours


def check(settings):
    """Check that the settings of a block exist, and that their values are of the right type."""
    assert set(settings) <= set(option_names())
    with override_settings(CIAM_TOKEN=settings):
        for name, value in settings.items():
            if "portal." not in str(value):  # a function of the reader's, which can't be imported here
                getattr(ciam_settings, name)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in FOLLOWED], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_python_of_a_page_runs(page):
    ClientFactory(client_id="shop")
    namespace = {**site(), "request": SimpleNamespace(user=UserFactory())}
    for block in blocks("python", page=page):
        if block.is_run:
            run(block, namespace)
            check(namespace["CIAM_TOKEN"])


def test_every_block_says_its_language():
    assert [block.place for block in blocks() if block.language not in LANGUAGES | SHOWN] == []


def test_few_blocks_are_not_run_and_each_says_why():
    not_run = [block for block in blocks() if not block.is_run]

    assert [block.place for block in not_run if not re.match(r"not run\b.{15}", block.comment)] == []
    assert len(not_run) <= MOST_NOT_RUN


def test_a_block_that_is_wrong_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text('```python\nCIAM_TOKEN = {..., "ISUER": 1}\n```\n')
    [block] = blocks("python", page=page)
    namespace = site()
    object.__setattr__(block, "page", ROOT / "README.md")

    run(block, namespace)

    with pytest.raises(AssertionError):
        check(namespace["CIAM_TOKEN"])
