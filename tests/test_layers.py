from __future__ import annotations

import ast
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_ciam_token"

LONGEST_MODULE = 300
LONGEST_CLASS = 250
LONGEST_FUNCTION = 40
ALLOWED: set[str] = set()
"""Those that have a reason to be longer; name it here."""


def lines_of(node):
    return range(node.lineno, node.end_lineno + 1)


def lines_of_code(function, source):
    """The lines of a function without its docstring, comments and blank lines."""
    docstring = lines_of(function.body[0]) if ast.get_docstring(function) is not None else ()
    written = [source[number - 1].strip() for number in lines_of(function) if number not in docstring]
    return [line for line in written if line and not line.startswith("#")]


def too_long(path):
    """The names of what is too long in a module, and of the module itself if it is."""
    text = path.read_text()
    source = text.splitlines()
    name = path.relative_to(PACKAGE).as_posix()
    if len(source) > LONGEST_MODULE:
        yield name
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            is_long = len(lines_of(node)) > LONGEST_CLASS
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            is_long = len(lines_of_code(node, source)) > LONGEST_FUNCTION
        else:
            continue
        if is_long:
            yield f"{name} {node.name}"


def test_imports_point_down_and_only_jose_imports_jwt(monkeypatch):
    monkeypatch.chdir(ROOT)

    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS


def test_no_module_class_or_function_is_too_long():
    modules = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "migrations"]

    found = {name for path in modules for name in too_long(path)}

    assert modules
    assert found - ALLOWED == set()
