"""The code blocks of the README and of the pages in docs/, page by page.

A collector of our own, because what a block means depends on its language and its page, and the pages are
not where pytest looks for tests. A comment above a block says why it is not run:
``<!-- not run: needs a mail server -->``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<comment>[^\n]*?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One block."""

    page: Path
    line: int
    language: str
    comment: str
    code: str

    @property
    def is_run(self) -> bool:
        """Whether no comment says that it is not run."""
        return not self.comment.startswith("not run")

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[str]:
        """Return the commands of a shell block; of a console, the lines after a ``$``."""
        text = re.sub(r"\\\n\s*", "", self.code)
        lines = [line.strip() for line in text.splitlines()]
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line and not line.startswith("#")]


def blocks(*languages: str, page: Path | None = None) -> list[Block]:
    """Return the blocks in these languages, or all; of this page, or of all."""
    return [
        block
        for one in ([page] if page else PAGES)
        for block in _of_page(one)
        if not languages or block.language in languages
    ]


def _of_page(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            page=page,
            line=text.count("\n", 0, match.start("code")),
            language=match["language"],
            comment=match["comment"] or "",
            code=re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE),
        )
        for match in _BLOCK.finditer(text)
    ]
