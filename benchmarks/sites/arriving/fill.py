"""Fills the tables of another package: as many users, each with a live refresh token.

python -m benchmarks.sites.arriving.fill PACKAGE ROWS
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from benchmarks.seed import REDIRECT_URI, migrate

_USERS: Final = """
INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active,
    date_joined, last_login)
SELECT 'pbkdf2_sha256$1000000$' || md5(n::text) || '$' || md5(n::text), false, 'user' || n, '', '',
    'user' || n || '@example.com', false, true, now(), now() - interval '9 days'
FROM generate_series(1, %s) n
"""
_TOOLKIT: Final = (
    """
    INSERT INTO oauth2_provider_accesstoken (token, token_checksum, expires, scope, resource, created,
        updated, user_id, application_id)
    SELECT md5(id::text), encode(sha256(('access' || id)::bytea), 'hex'), now(), 'openid profile', '[]',
        now() - interval '1 hour', now(), id, (SELECT min(id) FROM oauth2_provider_application)
    FROM auth_user
    """,
    # Each session was refreshed once: its first token is kept, as revoked.
    """
    INSERT INTO oauth2_provider_refreshtoken (token, token_checksum, resource, created, updated, revoked,
        user_id, application_id, access_token_id, token_family)
    SELECT md5('old' || user_id), encode(sha256(('old' || user_id)::bytea), 'hex'), '[]',
        now() - interval '9 days', updated, created, user_id, application_id, NULL, md5(user_id::text)::uuid
    FROM oauth2_provider_accesstoken
    """,
    """
    INSERT INTO oauth2_provider_refreshtoken (token, token_checksum, resource, created, updated, revoked,
        user_id, application_id, access_token_id, token_family)
    SELECT md5('new' || user_id), encode(sha256(('new' || user_id)::bytea), 'hex'), '[]', created, updated,
        NULL, user_id, application_id, id, md5(user_id::text)::uuid
    FROM oauth2_provider_accesstoken
    """,
)
# It deletes what was rotated.
_ALLAUTH: Final = """
INSERT INTO allauth_idp_oidc_token (type, hash, created_at, expires_at, scopes, client_id, user_id)
SELECT 'rt', encode(sha256(id::text::bytea), 'hex'), now() - interval '1 hour', now() + interval '90 days',
    E'openid\\nprofile', 'portal', id
FROM auth_user
"""


def fill(package: str, rows: int) -> None:
    """Make the users, a client, and the tokens."""
    migrate()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_USERS, [rows])
        {"oauth_toolkit": _toolkit, "allauth": _allauth, "simplejwt": _simplejwt}[package](cursor)


def _toolkit(cursor: Any) -> None:
    from oauth2_provider.models import Application

    Application.objects.create(
        client_id="portal",
        name="Portal",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=REDIRECT_URI,
    )
    for statement in _TOOLKIT:
        cursor.execute(statement)


def _allauth(cursor: Any) -> None:
    from allauth.idp.oidc.models import Client

    Client.objects.create(
        id="portal",
        name="Portal",
        type=Client.Type.PUBLIC,
        scopes="openid\nprofile",
        grant_types="authorization_code\nrefresh_token",
        redirect_uris=REDIRECT_URI,
    )
    cursor.execute(_ALLAUTH)


def _simplejwt(cursor: Any) -> None:
    """Make what simplejwt signs by default: JWTs with HS256 and SECRET_KEY."""
    from django.contrib.auth import get_user_model

    from django_ciam_token.clients.registration import create_client

    create_client(name="Portal", application_type="spa", client_id="jwt-portal", redirect_uris=REDIRECT_URI)
    # All of them first: while rows are copied, the connection answers no query.
    keys = list(get_user_model().objects.order_by("pk").values_list("pk", flat=True))
    columns = "user_id, jti, token, created_at, expires_at"
    statement = f"COPY token_blacklist_outstandingtoken ({columns}) FROM STDIN"
    with cursor.copy(statement) as copy:
        for row in _signed(keys):
            copy.write_row(row)


def _signed(users: Iterable[int]) -> Iterator[tuple[object, ...]]:
    from datetime import datetime, timedelta, timezone

    from django.conf import settings

    issued_at = int(time.time()) - 3_600
    expires_at = issued_at + 90 * 86_400
    instants = [datetime.fromtimestamp(issued_at, timezone.utc)]
    instants.append(instants[0] + timedelta(days=90))
    header = _base64url(b'{"alg": "HS256", "typ": "JWT"}')
    key = settings.SECRET_KEY.encode()
    for user in users:
        jti = hashlib.md5(str(user).encode()).hexdigest()  # noqa: S324 - only to be distinct
        claims = {
            "token_type": "refresh",
            "exp": expires_at,
            "iat": issued_at,
            "jti": jti,
            "user_id": str(user),
        }
        signed = f"{header}.{_base64url(json.dumps(claims).encode())}"
        signature = _base64url(hmac.digest(key, signed.encode(), "sha256"))
        yield (user, jti, f"{signed}.{signature}", *instants)


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]))
