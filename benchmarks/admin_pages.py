"""How long the admin pages take with many sessions, on PostgreSQL.

    DATABASE_URL=postgres://user@host/name python benchmarks/admin_pages.py [--sessions 1000000]

Fills the database if its table of sessions is empty, and requests each page through Django's test client:
lists with each of their filters and searches, and confirmations, which count what they reach. Prints the
median of nine answers in milliseconds and the number of statements; the slowest come first. The times hold
for one machine at one moment; the tests count statements instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "example_project")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

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
        "events, search user": page("securityevent_changelist", query="?q=user-777"),
        "events, search address (none)": page("securityevent_changelist", query="?q=198.51.100.7"),
        "events of a client": page("securityevent_changelist", query="?client=client-1"),
        "events of a user": page("securityevent_changelist", query=f"?user={session.user_id}"),
        "events of a session": page("securityevent_changelist", query=f"?session={session.pk}"),
        "events by somebody (none)": page("securityevent_changelist", query="?actor=somebody"),
        "events from an address": page("securityevent_changelist", query="?address=192.0.2.1"),
        "events of a day": page("securityevent_changelist", query=f"?from={_days_ago(9)}&to={_days_ago(8)}"),
        "event": page("securityevent_change", SecurityEvent.objects.order_by("-at").first().pk),
        "consents": page("consent_changelist"),
        "sessions, blocked": page(sessions, query="?state=blocked"),
        "sessions, search address": page(sessions, query="?q=192.0.2.1"),
        "sessions, search nothing": page(sessions, query="?q=no-such-thing"),
        "end a session?": page("refreshtoken_end", session.pk),
        "sign a user out?": page("refreshtoken_sign_out", session.user_id),
        "end sessions by criteria": page("refreshtoken_end_by_criteria"),
        "inspect a token": page("refreshtoken_find_by_token"),
        "end the sessions of a client?": page("client_end_sessions", client.pk),
        "switch a client off?": page("client_switch", client.pk),
        "delete a client?": page("client_delete", client.pk),
        "replace a secret?": page("client_replace_secret", client.pk),
        "signing keys": page("signingkey_changelist"),
        "signing key": page("signingkey_change", SigningKey.objects.first().pk),
        "rotate the key?": page("signingkey_rotate"),
        "plan a rotation": page("signingkey_plan_rotation"),
    }


def forms() -> dict[str, tuple[str, dict[str, object]]]:
    """Return what is sent to pages that then say how much they would reach, and ask."""
    client, session = Client.objects.order_by("pk").first(), RefreshToken.objects.order_by("-pk").first()
    criteria = page("refreshtoken_end_by_criteria")
    some = list(Client.objects.order_by("pk").values_list("pk", flat=True)[:100])
    return {
        "end those of a client?": (criteria, {"client": client.client_id}),
        "end those of a user?": (criteria, {"user": session.user.get_username()}),
        "end those that began before?": (criteria, {"issued_before": _days_ago(10)}),
        "end those that are idle?": (criteria, {"idle_since": _days_ago(10)}),
        "end all?": (criteria, {"everything": "on"}),
        "disable 100 clients?": (
            page("client_changelist"),
            {"action": "disable", "_selected_action": some, "confirmed": ""},
        ),
    }


def _days_ago(days: int) -> str:
    return f"{timezone.localtime() - timedelta(days=days):%Y-%m-%dT%H:%M}"


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
    asked = {name: partial(browser.get, address) for name, address in pages().items()}
    for name, (address, sent) in forms().items():
        asked[name] = partial(browser.post, address, {"confirmed": "yes", **sent})
    measured = sorted((measure(name, ask) for name, ask in asked.items()), reverse=True)
    for took, statements, name in measured:
        print(f"{name:<38} {took:>6.0f} {statements:>11}")


def measure(name: str, ask: Callable[[], HttpResponse]) -> tuple[float, int, str]:
    """Return the median in milliseconds, the number of statements, and the name."""
    assert ask().status_code == 200, name
    with CaptureQueriesContext(connection) as queries:
        ask()
        # Counted here, because the next request forgets them.
        statements = len(queries)
    took = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        ask()
        took.append(time.perf_counter() - begin)
    return 1_000 * statistics.median(took), statements, name


if __name__ == "__main__":
    main()
