"""A confidential client with the scope ``openid``, and a session for each chain."""

from __future__ import annotations

import random
from typing import Any

from benchmarks.seed import form, migrate


def target(chains: int) -> dict[str, Any]:
    """Fill the database."""
    migrate()
    from django.contrib.auth import get_user_model

    from django_ciam_token.api import issue_tokens
    from django_ciam_token.clients.registration import create_client

    user = get_user_model().objects.create_user("alice", password="correct horse")
    client, secret = create_client(client_id="portal", name="Portal", application_type="web", scope="openid")
    assert secret is not None
    tokens = [issue_tokens(client=client, user=user)["refresh_token"] for _ in range(chains)]
    return {"path": "/oauth2/token", "tokens": tokens, **form("portal", secret)}


# About 300 bytes a row, like the session of a browser. Keys ascend with time, like those of the package.
_ROWS = """
INSERT INTO django_ciam_token_refreshtoken (id, client_id, user_id, scope, generation, secret_digest, nonce,
    session_auth_hash, auth_time, issued_at, rotated_at, expires_at, revoked_reason, last_address,
    last_user_agent)
SELECT (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid,
    %(client)s, %(user)s + n %% %(users)s, 'openid', 5, decode(md5(n::text) || md5(n::text), 'hex'),
    decode(md5(n::text), 'hex'), repeat('0', 64), at, at, at, at + interval '60 days', '',
    '192.0.2.1',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36'
FROM (SELECT n, now() - interval '20 days' * (%(sessions)s - n) / %(sessions)s - %(age)s::interval AS at
      FROM generate_series(1, %(sessions)s) n) made
"""
_USERS = """
INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active,
    date_joined)
SELECT '!', false, 'user-' || n, '', '', '', false, true, now() FROM generate_series(1, %s) n
"""


def fill(sessions: int, *, age: str = "0 days") -> None:
    """Add sessions, ten for each user, begun in the 20 days before ``age`` ago; they live for 60 days."""
    from django.contrib.auth import get_user_model
    from django.db import connection

    from django_ciam_token.models import Client

    users = max(1, sessions // 10)
    with connection.cursor() as cursor:
        cursor.execute(_USERS, [users])
        newest = get_user_model().objects.order_by("-pk")[0].pk
        values = {
            "client": Client.objects.get(client_id="portal").pk,
            "user": newest - users + 1,
            "users": users,
            "sessions": sessions,
            "age": age,
        }
        cursor.execute(_ROWS, values)
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def among(sessions: int, chosen: int) -> list[str]:
    """Return tokens of sessions spread among many others: rows that are seldom used are in no cache."""
    from django.db import connection

    from django_ciam_token.crypto import refresh_token_string, site_keys
    from django_ciam_token.models import RefreshToken
    from django_ciam_token.sessions.auth_hash import session_auth_hash

    fill(sessions)
    key, tokens = site_keys.token_keys()[0], []
    step = max(1, sessions // chosen)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n"
            " FROM django_ciam_token_refreshtoken) r WHERE n %% %s = 0 ORDER BY id LIMIT %s",
            [step, chosen],
        )
        picked = [row[0] for row in cursor.fetchall()]
    for session in RefreshToken.objects.select_related("user").filter(pk__in=picked):
        secret = refresh_token_string.new_secret()
        session.secret_digest = refresh_token_string.digest(secret)
        session.session_auth_hash = session_auth_hash(session.user)
        session.save(update_fields=["secret_digest", "session_auth_hash"])
        genuine = refresh_token_string.GenuineToken(session.pk, session.generation, secret)
        tokens.append(refresh_token_string.encode(genuine, key))
    random.Random(1).shuffle(tokens)  # noqa: S311 - an order, not a secret
    return tokens
