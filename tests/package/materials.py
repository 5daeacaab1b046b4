"""The bill of materials (SBOM, CycloneDX): what a site installs with the wheel, in today's versions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# What the wheel needs itself, and what that needs.
DIRECT = {"cryptography", "django", "djangorestframework", "pyjwt"}
INDIRECT = {"asgiref", "cffi", "pycparser", "sqlparse", "typing-extensions", "tzdata"}


def check(python: Path, project: Path, sbom: Path) -> None:
    """Write the bill for the environment of ``python``, which has the wheel and nothing else."""
    options = ["--pyproject", project / "pyproject.toml", "--output-reproducible", "--validate"]
    subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "environment", *options, "--output-file", sbom, python],
        check=True,
    )
    bill = json.loads(sbom.read_text())
    subject, names = bill["metadata"]["component"], {one["name"].lower() for one in bill["components"]}
    assert subject["name"] == "django-ciam-token", subject
    names -= {"django-ciam-token", "pip", "setuptools"}
    assert names >= DIRECT, f"missing in the bill: {DIRECT - names}"
    assert names <= DIRECT | INDIRECT, f"a new dependency: {names - DIRECT - INDIRECT}"
    print(f"{sbom.name}: {', '.join(sorted(names))}")
