"""A bare WSGI application: one SELECT, one conditional UPDATE in a transaction, two RS256 signatures.

It has no replay, no reuse detection, no expiry, no scopes and no logs. Nobody should use it. It shows how
much of a refresh is due to the signatures, the database and gunicorn.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psycopg
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

SELECT = (
    "SELECT s.generation, s.digest, c.secret_digest, u.id FROM session s"
    " JOIN client c ON c.client_id = s.client_id JOIN app_user u ON u.id = s.user_id"
    " WHERE s.id = %s AND c.client_id = %s AND c.is_active AND u.is_active"
)
UPDATE = (
    "UPDATE session SET generation = %s, digest = %s, rotated_at = now() WHERE id = %s AND generation = %s"
)

_local = threading.local()
_key = load_pem_private_key(Path(os.environ["BENCHMARK_RSA_KEY"]).read_bytes(), password=None)
assert isinstance(_key, rsa.RSAPrivateKey)
_padding, _hash = padding.PKCS1v15(), SHA256()


def connect() -> psycopg.Connection[tuple[Any, ...]]:
    """Return this thread's connection, opened once."""
    if not hasattr(_local, "connection"):
        _local.connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    connection: psycopg.Connection[tuple[Any, ...]] = _local.connection
    return connection


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


_HEADER = _base64url(b'{"kid":"1","typ":"JWT","alg":"RS256"}')


def _sign(claims: dict[str, Any]) -> str:
    signing_input = _HEADER + b"." + _base64url(json.dumps(claims).encode())
    return (signing_input + b"." + _base64url(_key.sign(signing_input, _padding, _hash))).decode()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Rotate a token."""
    length = int(environ["CONTENT_LENGTH"])
    form = parse_qs(environ["wsgi.input"].read(length).decode())
    session_id, _, secret = form["refresh_token"][0].partition(".")
    client_id = form["client_id"][0]
    connection = connect()
    row = connection.execute(SELECT, [session_id, client_id]).fetchone()
    assert row is not None
    generation, digest, client_digest, user_id = row
    assert hmac.compare_digest(hashlib.sha256(form["client_secret"][0].encode()).digest(), client_digest)
    assert hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), digest)
    successor = secrets.token_urlsafe(32)
    now = int(time.time())
    claims = {"sub": str(user_id), "aud": client_id, "iss": "https://id.example.com", "iat": now}
    access = _sign({**claims, "nbf": now, "scope": ["openid"], "exp": now + 300, "jti": str(uuid.uuid4())})
    id_token = _sign({**claims, "azp": client_id, "exp": now + 1800, "jti": str(uuid.uuid4())})
    with connection.transaction():
        new_digest = hashlib.sha256(successor.encode()).digest()
        changed = connection.execute(UPDATE, [generation + 1, new_digest, session_id, generation])
        assert changed.rowcount == 1
    body = json.dumps(
        {
            "access_token": access,
            "refresh_token": f"{session_id}.{successor}",
            "scope": "openid",
            "id_token": id_token,
            "token_type": "Bearer",
            "expires_in": 299,
        }
    ).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
