"""The floor's tables and sessions."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from typing import Any

from benchmarks.seed import form, summary
from benchmarks.sites.floor.app import connect

TABLES = """
CREATE TABLE client (client_id text PRIMARY KEY, secret_digest bytea NOT NULL, is_active boolean NOT NULL);
CREATE TABLE app_user (id serial PRIMARY KEY, is_active boolean NOT NULL);
CREATE TABLE session (
    id uuid PRIMARY KEY, client_id text NOT NULL REFERENCES client, user_id int NOT NULL REFERENCES app_user,
    generation int NOT NULL, digest bytea NOT NULL, rotated_at timestamptz
) WITH (fillfactor = 80);
INSERT INTO app_user (is_active) VALUES (true);
"""


def target(chains: int) -> dict[str, Any]:
    """Make the tables, a client, and a session for each chain."""
    connection = connect()
    connection.execute(TABLES)
    client_secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(client_secret.encode()).digest()
    connection.execute("INSERT INTO client VALUES ('portal', %s, true)", [digest])
    tokens = []
    for _ in range(chains):
        session_id, secret = uuid.uuid4(), secrets.token_urlsafe(32)
        digest = hashlib.sha256(secret.encode()).digest()
        connection.execute("INSERT INTO session VALUES (%s, 'portal', 1, 0, %s)", [session_id, digest])
        tokens.append(f"{session_id}.{secret}")
    return {"path": "/oauth2/token", "tokens": tokens, **form("portal", client_secret)}


def look(target: dict[str, Any], token: str) -> dict[str, Any]:
    """Describe a refresh; the code in `app.py` shows it."""
    return {"statements": summary(["SELECT", "BEGIN", "UPDATE", "COMMIT"]), "jwts": "access RS256, id RS256"}
