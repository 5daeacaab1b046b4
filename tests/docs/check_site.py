"""Check the built documentation: it works from a file, and asks no other host for anything.

`tox -e docs` runs it with the folder that mkdocs has written. It is not a pytest module.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself. The address of an <a> is only asked for by a reader who follows it.
FETCHED = {"audio", "embed", "iframe", "img", "link", "object", "script", "source", "track", "video"}
# Relations of <link> that name an address without fetching it.
NOT_FETCHED = {"canonical", "next", "prev", "alternate"}
IN_CSS = re.compile(r"""(?:@import\s+|url\()\s*["']?((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """One page: its anchors, where it links to, and what it fetches."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element names."""
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        elif tag in FETCHED and found.get("rel") not in NOT_FETCHED:
            self.fetched |= {found[name] for name in ("src", "href", "data", "srcset") if found.get(name)}
        if "mermaid" in found.get("class", "").split():
            self.fetched.add("https://unpkg.com/mermaid")  # where the theme's script gets it from


def is_foreign(address: str) -> bool:
    """Tell whether an address names a host."""
    return bool(urlsplit(address).netloc)


def broken_links(page: Page, pages: dict[Path, Page]) -> list[str]:
    """Return the links to files or anchors that are not there."""
    broken = []
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        if target.suffix != ".html":
            is_there = target.is_file()
        else:
            anchors = pages[target].anchors | {""} if target in pages else set()
            is_there = unquote(parts.fragment) in anchors
        if not is_there:
            broken.append(link)
    return broken


def main(folder: Path) -> None:
    """Check every page and style sheet."""
    pages = {path: Page(path) for path in sorted(folder.resolve().rglob("*.html"))}
    assert len(pages) > 1, f"{folder} has no pages"
    mistakes = []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        # The page of a missing address is served for any address, so its own links are absolute.
        if path.name != "404.html":
            mistakes += [f"{name} links to {link}, which is not there" for link in broken_links(page, pages)]
        mistakes += [f"{name} fetches {address}" for address in page.fetched if is_foreign(address)]
    for path in folder.resolve().rglob("*.css"):
        mistakes += [f"{path.name} fetches {address}" for address in IN_CSS.findall(path.read_text())]
    if mistakes:
        sys.exit("\n".join(mistakes))
    print(f"{len(pages)} pages: every link leads somewhere, and nothing is fetched from another host.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
