"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
REFERENCE = ROOT / "docs" / "reference"
PACKAGE = ROOT / "django_ciam_token"

_SECTION = re.compile(r"^### `([^`]+)`$(.*?)(?=^#{1,3} |\Z)", re.DOTALL | re.MULTILINE)


def sections(page: str) -> dict[str, str]:
    """Return the text under each heading that is a name, such as of a setting.

    Args:
        page: of the reference, such as ``settings``.
    """
    found = _SECTION.findall((REFERENCE / f"{page}.md").read_text())
    assert len({name for name, _ in found}) == len(found), "a heading that is there twice"
    return dict(found)


def sources() -> Iterator[Path]:
    """Return the modules of the package."""
    return PACKAGE.rglob("*.py")
