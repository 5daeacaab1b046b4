"""Prepares the database of one server and describes how to refresh there.

    python -m benchmarks.seed SITE CHAINS TARGET [SESSIONS]

Runs with the settings of that server. Besides the sessions of the chains, it begins one more. That one is
refreshed a few times in this process, to look at the answer and to count the statements.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

CODE_VERIFIER: Final = "v" * 43
CODE_CHALLENGE: Final = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"
REDIRECT_URI: Final = "https://app.example.com/callback"


def main(site: str, chains: str, path: str, sessions: str = "0") -> None:
    """Write the target file."""
    seed = importlib.import_module(f"benchmarks.sites.{site}.seed")
    target = seed.target(int(chains) + 1)
    if int(sessions):
        target["tokens"] = seed.among(int(sessions), len(target["tokens"]))
    spare = target["tokens"].pop()
    look = getattr(seed, "look", None) or _look
    target |= look(target, spare)
    Path(path).write_text(json.dumps(target))


def migrate() -> None:
    """Set up Django and create the tables; sites call it first."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def form(client_id: str, client_secret: str) -> dict[str, str]:
    """Return the parts of a target that all token endpoints of OAuth 2.0 share."""
    return {
        "content_type": "application/x-www-form-urlencoded",
        "prefix": f"grant_type=refresh_token&client_id={client_id}"
        f"&client_secret={client_secret}&refresh_token=",
        "suffix": "",
        "token_pattern": '"refresh_token": ?"([^"]+)"',
    }


def exchange_form(client_id: str, client_secret: str, code: str) -> str:
    """Return the body of an exchange."""
    return urlencode(
        {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "client_secret": client_secret,
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": CODE_VERIFIER,
        }
    )


def credentials_form(client_id: str, client_secret: str) -> str:
    """Return the body of a request for client credentials."""
    return urlencode(
        {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
            "scope": "profile",
        }
    )


def _look(target: dict[str, Any], token: str) -> dict[str, Any]:
    """Refresh three times with Django's test client; describe the last refresh."""
    import re

    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    browser = Client()
    for _ in range(3):
        with CaptureQueriesContext(connection) as queries:
            body = target["prefix"] + token + target["suffix"]
            response = browser.post(target["path"], body, content_type=target["content_type"])
        assert response.status_code == 200, response.content
        match = re.search(target["token_pattern"], response.content.decode())
        assert match is not None
        assert match[1] != token
        token = match[1]
    kinds = [query["sql"].split()[0].upper() for query in queries]
    return {"statements": summary(kinds), "jwts": describe(json.loads(response.content))}


def summary(kinds: list[str]) -> str:
    """Describe a list of statements: how many there are, and their kinds without BEGIN and COMMIT."""
    inner = [kind for kind in kinds if kind not in ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")]
    counts = {kind: inner.count(kind) for kind in ("SELECT", "INSERT", "UPDATE", "DELETE")}
    listed = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    return f"{len(kinds)} ({listed})"


def describe(answer: dict[str, Any]) -> str:
    """Name the JWTs of an answer and their algorithms."""
    found = []
    for name, value in answer.items():
        if isinstance(value, str) and value.count(".") == 2:
            header = value.partition(".")[0]
            header += "=" * (-len(header) % 4)
            algorithm = json.loads(base64.urlsafe_b64decode(header))["alg"]
            found.append(f"{name.removesuffix('_token')} {algorithm}")
    return ", ".join(found)


if __name__ == "__main__":
    main(*sys.argv[1:])
