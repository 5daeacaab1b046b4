"""How long the admin pages take with many sessions, on PostgreSQL.

    DATABASE_URL=postgres://user@host/name python benchmarks/admin_pages.py [--sessions 1000000]

Fills the database if its table of sessions is empty, and requests each page through Django's test client.
Prints the median of nine answers in milliseconds and the number of statements. The times hold for one machine
at one moment; the tests count statements instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "example_project")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_ciam_token.models import Client, RefreshToken, SecurityEvent, SigningKey

CLIENTS = 1_000
USERS = 100_000
ROUNDS = 9

# A third of the sessions have expired, one in a hundred was revoked. Keys ascend with time, like uuid7's.
FILL = """
INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active,
                       date_joined)
SELECT '!', false, 'user-' || n, '', '', 'user-' || n || '@example.com', false, true, now()
FROM generate_series(1, {users}) n;

INSERT INTO django_ciam_token_clientsecret (client_id, secret_digest, last_four, created_at)
SELECT id, 'sha256$-', 'abcd', now() FROM django_ciam_token_client;

INSERT INTO django_ciam_token_refreshtoken (id, client_id, user_id, scope, generation, secret_digest, nonce,
    session_auth_hash, auth_time, issued_at, rotated_at, expires_at, revoked_at, revoked_reason, last_address,
    last_user_agent)
SELECT (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid,
    (SELECT min(id) FROM django_ciam_token_client) + (n::bigint * 7919) %% {clients},
    (SELECT max(id) FROM auth_user) - (n::bigint * 104729) %% {users},
    'openid', n %% 50, '\\x00', '\\x00', repeat('0', 64), at, at, at + interval '1 hour',
    CASE WHEN n %% 3 = 0 THEN at + interval '1 day' ELSE now() + interval '1 day' END,
    CASE WHEN n %% 100 = 0 THEN at + interval '2 hours' END, CASE WHEN n %% 100 = 0 THEN 'user' ELSE '' END,
    '192.0.2.1', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/130.0.0.0 Safari/537.36'
FROM (SELECT n, now() - interval '20 days' * ({sessions} - n) / {sessions} AS at
      FROM generate_series(1, {sessions}) n) made;

INSERT INTO django_ciam_token_securityevent
    (event, at, client_id, user_id, session_id, reason, actor, address)
SELECT CASE WHEN generation = 0 THEN 'client_auth_failed' ELSE 'issued' END, issued_at, 'client-1', user_id,
    id, '', '', last_address
FROM django_ciam_token_refreshtoken ORDER BY id;
"""


def fill(sessions: int) -> None:
    call_command("migrate", verbosity=0)
    if RefreshToken.objects.exists():
        return
    # By Django, which knows the columns that a client has.
    Client.objects.bulk_create(
        Client(client_id=f"client-{n}", name=f"Application {n}", application_type="web", scope="openid")
        for n in range(1, CLIENTS + 1)
    )
    with connection.cursor() as cursor:
        cursor.execute(FILL.format(users=USERS, clients=CLIENTS, sessions=sessions).replace("%%", "%"))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def page(name: str, *args: object, query: str = "") -> str:
    return reverse(f"admin:django_ciam_token_{name}", args=args) + query


def pages() -> dict[str, str]:
    client, session = Client.objects.order_by("pk").first(), RefreshToken.objects.order_by("-pk").first()
    sessions = "refreshtoken_changelist"
    return {
        "overview": reverse("admin:app_list", args=["django_ciam_token"]),
        "clients": page("client_changelist"),
        "clients, search": page("client_changelist", query="?q=Application 77"),
        "client": page("client_change", client.pk),
        "sessions": page(sessions),
        "sessions, last page": page(sessions, query="?p=20"),
        "sessions, live": page(sessions, query="?state=live"),
        "sessions, expired": page(sessions, query="?state=expired"),
        "sessions, revoked for reuse (none)": page(sessions, query="?state=revoked-reuse"),
        "sessions of a client": page(sessions, query=f"?client__id__exact={client.pk}"),
        "sessions of a client, revoked": page(
            sessions, query=f"?client__id__exact={client.pk}&state=revoked"
        ),
        "sessions, last hour": page(sessions, query="?started=1h"),
        "sessions, search user": page(sessions, query="?q=user-777"),
        "sessions, search client": page(sessions, query="?q=client-77"),
        "sessions, search name": page(sessions, query="?q=Application 77"),
        "sessions, search id": page(sessions, query=f"?q={session.pk}"),
        "session": page("refreshtoken_change", session.pk),
        "user": reverse("admin:auth_user_change", args=[session.user_id]),
        "events": page("securityevent_changelist"),
        "events, reuse (none)": page("securityevent_changelist", query="?event__exact=reuse_detected"),
        "events, search": page("securityevent_changelist", query="?q=client-2"),
        "signing keys": page("signingkey_changelist"),
        "signing key": page("signingkey_change", SigningKey.objects.first().pk),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=1_000_000)
    fill(parser.parse_args().sessions)
    operator, _ = get_user_model().objects.get_or_create(
        username="operator", defaults={"is_staff": True, "is_superuser": True}
    )
    browser = Browser(SERVER_NAME="localhost")
    browser.force_login(operator)
    print(f"{RefreshToken.objects.count():,} sessions, {SecurityEvent.objects.count():,} events")
    print(f"{'page':<38} {'ms':>6} {'statements':>11}")
    for name, address in pages().items():
        assert browser.get(address).status_code == 200, address
        with CaptureQueriesContext(connection) as queries:
            browser.get(address)
        statements = len(queries)
        took = []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            browser.get(address)
            took.append(time.perf_counter() - begin)
        print(f"{name:<38} {1_000 * statistics.median(took):>6.0f} {statements:>11}")


if __name__ == "__main__":
    main()
