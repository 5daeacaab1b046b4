"""A person with a browser, as far as HTTP goes: it follows redirects, keeps cookies, and fills in forms.

As a command, it is the browser that programs on this machine open: ``browser.py FOLDER URL``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from http.cookiejar import LWPCookieJar
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import requests

MOST_PAGES: Final = 5


class Browser:
    """It enters what it knows into the first form of each page and presses that form's first button."""

    def __init__(self, folder: Path) -> None:
        """Go on with the cookies in this folder; ``known.json`` says what to enter into which field."""
        self._known = json.loads((folder / "known.json").read_text())
        cookies = folder / "cookies"
        self._jar = LWPCookieJar(cookies)
        if cookies.exists():
            self._jar.load(ignore_discard=True)
        self._session = requests.Session()
        self._session.cookies = self._jar  # type: ignore[assignment]  # Any jar will do.
        self.text = ""
        """The page that it shows."""

    def open(self, url: str) -> str:
        """Return the address where the browser ends up, whether or not anybody answers there."""
        address, form = self._go("GET", url, {})
        for _ in range(MOST_PAGES):
            if form is None:
                break
            origin = "{0.scheme}://{0.netloc}".format(urlsplit(address))
            target = urljoin(address, form.action)
            address, form = self._go(form.method, target, form.filled_in(self._known), origin)
        self._jar.save(ignore_discard=True)
        return address

    def _go(
        self, method: str, url: str, fields: Mapping[str, str], origin: str = ""
    ) -> tuple[str, Form | None]:
        headers = {"Origin": origin} if method == "POST" else {}
        sent = {"params": fields} if method == "GET" else {"data": fields}
        try:
            response = self._session.request(method, url, headers=headers, timeout=20, **sent)  # type: ignore[arg-type]
        except requests.ConnectionError as error:
            # Nobody listens at the redirect URI; the address is what matters.
            if error.request is None or error.request.url is None:
                raise
            self.text = ""
            return error.request.url, None
        self.text = response.text
        page = Page(response.text if "html" in response.headers.get("Content-Type", "") else "")
        return response.url, page.form


class Form:
    """The first form of a page."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.method = attributes.get("method", "get").upper()
        self.action = attributes.get("action", "")
        self.fields: dict[str, str] = {}
        self.has_button = False

    def add(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Add a field; of all buttons only the first one is pressed."""
        is_button = tag == "button" or attributes.get("type") == "submit"
        if is_button and self.has_button:
            return
        self.has_button |= is_button
        if "name" in attributes:
            self.fields[attributes["name"]] = attributes.get("value", "")

    def filled_in(self, known: Mapping[str, str]) -> dict[str, str]:
        """Return what is sent."""
        return {name: known.get(name, value) for name, value in self.fields.items()}


class Page(HTMLParser):
    """Finds the first form."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.form: Form | None = None
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form" and self.form is None:
            self.form, self._inside = Form(attributes), True
        elif self.form is not None and self._inside and tag in ("input", "button"):
            self.form.add(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag != "form"


if __name__ == "__main__":
    _, folder, url = sys.argv
    print(Browser(Path(folder)).open(url))
