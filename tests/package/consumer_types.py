"""The types of the installed wheel reach a consumer: mypy and pyright, without this project's plugins.

Django has no types of its own, so a consumer has those of django-stubs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

CONSUMER = Path(__file__).with_name("consumer") / "consumer.py"
# Only what the consumer's own module says is judged, and nothing that is unknown is taken for granted.
PYRIGHT = {
    "include": ["consumer.py"],
    "typeCheckingMode": "strict",
    "reportUnnecessaryTypeIgnoreComment": "error",
    # Those comments are mypy's.
    "enableTypeIgnoreComments": False,
}


def check(python: Path, site: Path) -> None:
    """Check a small project with both checkers; ``python`` has the wheel."""
    install = [python, "-m", "pip", "install", "--quiet", "django-stubs", "djangorestframework-stubs"]
    subprocess.run(install, check=True)
    project = site / "consumer"
    project.mkdir()
    shutil.copy(CONSUMER, project)
    (project / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    checkers = {
        "mypy": ["mypy", "--strict", "--warn-unused-ignores", "--python-executable", python, "consumer.py"],
        "pyright": ["pyright", "--pythonpath", python, "--project", "pyrightconfig.json"],
    }
    for name, command in checkers.items():
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name}:\n{done.stdout}{done.stderr}"
        print(f"{name}: the types reach a consumer")
