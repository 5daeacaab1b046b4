from __future__ import annotations

from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_imports_point_down_and_only_jose_imports_jwt(monkeypatch):
    monkeypatch.chdir(Path(__file__).resolve().parent.parent)

    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS
