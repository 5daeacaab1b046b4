"""Filling in the form of a new client."""

from __future__ import annotations

import re

from tests.operators import url

SECRET = re.compile(r"ciam_cs_[\w-]{43}")


def form_of_client(**fields):
    return {"name": "Portal", "application_type": "web", "client_id": "portal", "scope": ["openid"], **fields}


def add_client(browser, **fields):
    form = form_of_client(**fields) | {"is_active": "on", "refresh_tokens_enabled": "on"}
    return browser.post(url("client_add"), form, follow=True)
