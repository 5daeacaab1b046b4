"""A package that issued refresh tokens before: its format, and what it remembers of them, in memory."""

from __future__ import annotations

import hashlib
import uuid

from django_ciam_token.sessions.foreign import ForeignIdentity, LiveToken

FORMAT = "tests.other_package.OtherTokens"
SETTINGS = {"ISSUER": "https://id.example.com", "FOREIGN_TOKENS": {FORMAT: {}}}

KNOWN: dict[bytes, object] = {}
"""What the package says of its tokens, by what they are known by."""
CONSULTED = [True]
ASKED: list[bytes] = []
"""What it was asked about."""


def forget():
    KNOWN.clear()
    ASKED.clear()
    CONSULTED[:] = [True]


class OtherTokens:
    def __init__(self, prefix="old-"):
        self.prefix = prefix

    def identify(self, text):
        # Upper and lower case are two spellings of one token.
        known_by = text.reveal().lower().encode()
        if not text.reveal().lower().startswith(self.prefix):
            return None
        return ForeignIdentity(known_by=known_by, secret=known_by)

    def find(self, identity):
        ASKED.append(identity.known_by)
        return KNOWN.get(identity.known_by) if CONSULTED[0] else None

    def is_consulted(self):
        return CONSULTED[0]


def identified(text):
    return {"known_by": text.encode(), "secret_digest": hashlib.sha256(text.encode()).digest()}


def live(client, user, text=None, **fields):
    """Let the package have issued a token; return it and what the package says of it."""
    text = text or f"old-{uuid.uuid4().hex}"
    values = {"scope": "openid", "auth_time": None, "expires_at": None, **fields}
    token = LiveToken(client_id=client.client_id, user_id=user.pk, **identified(text), **values)
    KNOWN[token.known_by] = token
    return text, token
