"""Naming the device of a session in two words.

A few rules for the most common devices. For more detail, the page of a session shows the header itself. No
decision depends on it.
"""

from __future__ import annotations

import re
from typing import Final

from django.utils.translation import gettext as _

# The order matters: most browsers also claim to be others.
_PROGRAMS: Final = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"\b(?:OPR|OPX)/(\d+)")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"\b(?:Headless)?(?:Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)[\d.]* .*\bSafari/")),
)
_SYSTEMS: Final = (
    ("iPhone", re.compile(r"\biPhone\b")),
    ("iPad", re.compile(r"\biPad\b")),
    ("Android", re.compile(r"\bAndroid\b")),
    ("Windows", re.compile(r"\bWindows\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("macOS", re.compile(r"\bMac(?: OS X|intosh)\b|\bDarwin/")),
    ("Linux", re.compile(r"\bLinux\b")),
)
# "okhttp/4.12.0", "MyApp/3.2 CFNetwork/…": libraries and applications put their own name first.
_PRODUCT: Final = re.compile(r"([A-Za-z][\w .-]{0,38}?)/(\d+(?:\.\d+)?)")


def describe(user_agent: str) -> str:
    """Return for example "Chrome 130 · Windows" or "okhttp 4.12"; for an unknown header its beginning."""
    if not user_agent:
        return _("unknown")
    parts = [part for part in (_program(user_agent), _system(user_agent)) if part]
    return " · ".join(parts) or user_agent[:40]


def _program(user_agent: str) -> str:
    for name, pattern in _PROGRAMS:
        if match := pattern.search(user_agent):
            return f"{name} {match[1]}"
    product = _PRODUCT.match(user_agent)
    if product is None or product[1] == "Mozilla":
        return ""
    return f"{product[1]} {product[2]}"


def _system(user_agent: str) -> str:
    return next((name for name, pattern in _SYSTEMS if pattern.search(user_agent)), "")
