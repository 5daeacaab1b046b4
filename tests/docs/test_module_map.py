"""The page that leads newcomers through the code names what is there, and all that is there."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PACKAGE, ROOT

PAGE = (ROOT / "docs" / "explanation" / "module-map.md").read_text()
ROWS = re.findall(r"^\| (`.*?) \| (.*) \|$", PAGE, re.MULTILINE)
NOT_IN_THE_MAP = {"__init__.py", "__pycache__", "py.typed", "locale", "static", "templates"}


def names(text):
    return re.findall(r"`([\w./]+(?:\.py|/))`", text)


def test_every_folder_and_module_at_the_top_has_its_row():
    named = {name.rstrip("/") for first, _ in ROWS for name in names(first)}

    assert named == {path.name for path in PACKAGE.iterdir()} - NOT_IN_THE_MAP


@pytest.mark.parametrize(("first", "second"), ROWS, ids=[first for first, _ in ROWS])
def test_the_files_of_a_row_are_in_its_folder(first, second):
    folders = [PACKAGE / name for name in names(first)]

    for name in names(second):
        assert any((folder / name).exists() for folder in (*folders, PACKAGE)), name


def test_the_files_that_the_text_names_are_there():
    prose = re.sub(r"^\|.*$", "", PAGE, flags=re.MULTILINE)

    for name in names(prose):
        found = [(start / name).exists() for start in (PACKAGE, ROOT)]
        assert any(found) or list(PACKAGE.rglob(name)), name


def test_the_layers_are_those_of_the_contract():
    [shown] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    contract = (ROOT / "pyproject.toml").read_text().split("layers = [")[1].split("]")[0]

    assert shown.split("\n")[:-1] == re.findall(r'"(.*)"', contract)


def test_the_functions_on_the_way_of_a_refresh_are_there():
    """As `module.function`, the module with or without its folder."""
    for module, function in re.findall(r"`([\w.]+)\.(\w+)`", PAGE):
        if function in ("py", "toml") or module == "request":
            continue
        last = module.split(".")[-1]
        if list(PACKAGE.rglob(f"{last}/{function}.py")):
            continue
        sources = [path.read_text() for path in PACKAGE.rglob(f"{last}.py")]
        sources += [path.read_text() for path in PACKAGE.rglob(f"{last}/__init__.py")]
        sources += [path.read_text() for path in PACKAGE.rglob("*.py") if f"class {last}" in path.read_text()]
        assert any(re.search(rf"\b{function}\b", source) for source in sources), f"{module}.{function}"
