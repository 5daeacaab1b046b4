"""The tutorial and the quick start of the README, followed from first line to last, in an empty folder."""

from __future__ import annotations

import re
import shutil
import urllib.request

import pytest

from tests.docs.reader import ROOT, TUTORIAL, Reader


@pytest.fixture
def reader(tmp_path):
    if not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("the tutorial's reader has bash and curl")
    reader = Reader(tmp_path)
    yield reader
    reader.close()


def test_the_tutorial_works_as_written(reader):
    reader.follow(TUTORIAL.read_text())

    first, repeated = reader.answers
    assert repeated["refresh_token"] == first["refresh_token"]


def section(text, heading, end):
    """Return a page from this heading to that text."""
    return text[text.index(f"## {heading}") : text.index(end)]


def test_the_quick_start_of_the_readme_works_as_written(reader):
    reader.follow(section(TUTORIAL.read_text(), "1. The site", "## 2."))
    quick_start = section((ROOT / "README.md").read_text(), "Quick start", "Let your own API")
    reader.follow(re.sub(r"`(settings|urls)\.py`", r"`shop/\1.py`", quick_start))

    with urllib.request.urlopen(f"http://127.0.0.1:{reader.port}/my-page") as page:
        assert "Sign in" in page.read().decode()
    reader.type_block(
        "$ python manage.py issue_tokens --client my-page --user alice@example.com --json\n"
        '…{"access_token": "…", "refresh_token": "ciam_rt1_…", "scope": "openid", …}\n'
    )


def test_the_page_of_the_quick_start_returns_to_the_address_that_is_registered():
    page = (ROOT / "docs" / "stay-signed-in.html").read_text()
    [path] = re.findall(r"--redirect-uri http://127\.0\.0\.1:8000(\S+)", (ROOT / "README.md").read_text())

    assert f'location.origin + "{path}"' in page


def test_the_page_of_the_quick_start_is_that_of_the_tutorial():
    tutorial, page = TUTORIAL.read_text(), (ROOT / "docs" / "stay-signed-in.html").read_text()
    constants = re.compile(r"^const CLIENT = .*$|^<title>.*$|^<h1>.*$", re.MULTILINE)
    [shown] = [
        block for block in re.findall(r"```html\n(.*?)```", tutorial, re.DOTALL) if "const CLIENT" in block
    ]

    assert constants.sub("", page) == constants.sub("", shown)


def test_the_readme_promises_its_commands_in_one_line_each():
    readme = (ROOT / "README.md").read_text()

    for name in ("demo", "test"):
        assert re.search(rf"<!-- command: {name} -->\n```sh\npython3 -m venv .*\n```", readme)
    assert len(readme.splitlines()) <= 160
