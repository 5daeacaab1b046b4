from __future__ import annotations

import os
import resource
import sys
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import OperationalError, connection, connections
from django.db.models import QuerySet
from django.db.models.signals import post_delete, post_init
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token import purging
from django_ciam_token.api import issue_tokens
from django_ciam_token.database import retry
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import EventType, RefreshToken, RevokedAccessToken, SecurityEvent, SigningKey
from django_ciam_token.purging import PurgeResult, purge
from tests.conftest import post_form
from tests.factories import UserFactory, make_session, make_sessions

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
VOLUME = int(os.environ.get("CIAM_VOLUME") or 20_000)


def remaining():
    return set(RefreshToken.objects.values_list("pk", flat=True))


def make_key(**fields):
    now = timezone.now()
    defaults = {"algorithm": "ES256", "public_jwk": {}, "created_at": now, "active_at": now}
    return SigningKey.objects.create(kid=uuid.uuid4().hex, **{**defaults, **fields})


def make_event(at):
    return SecurityEvent.objects.create(event=EventType.ISSUED, at=at)


# --- what is removed and what stays ----------------------------------------------------------------------


def test_sessions_are_removed_when_they_ended_longer_ago_than_the_retention(web_client, user):
    now = timezone.now()
    past, not_yet = now - 30 * DAY - SECOND, now - 30 * DAY + SECOND
    stay = {
        make_session(web_client, user, issued_at=now - 400 * DAY).pk,
        make_session(web_client, user, expires_at=not_yet).pk,
        make_session(web_client, user, revoked_at=not_yet).pk,
        make_session(web_client, user, revoked_at=not_yet, expires_at=not_yet).pk,
    }
    make_session(web_client, user, expires_at=past)
    make_session(web_client, user, revoked_at=past)
    make_session(web_client, user, revoked_at=past, expires_at=not_yet)
    make_session(web_client, user, revoked_at=not_yet, expires_at=past)

    assert purge(now=now) == PurgeResult(sessions=4, finished=True)

    assert remaining() == stay
    assert purge(now=now) == PurgeResult(finished=True)


def test_the_retention_is_a_setting_and_may_be_zero(settings, web_client, user):
    now = timezone.now()
    make_session(web_client, user, expires_at=now - SECOND)
    make_session(web_client, user, revoked_at=now - SECOND)
    live = make_session(web_client, user, expires_at=now + SECOND).pk

    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ENDED_RETENTION": DAY}
    assert purge(now=now).sessions == 0
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ENDED_RETENTION": 0}
    assert purge(now=now).sessions == 2

    assert remaining() == {live}


def test_records_of_revoked_access_tokens_are_removed_when_the_token_has_expired(db):
    now = timezone.now()
    ago = now - timedelta(minutes=5)
    for at in (now - 400 * DAY, ago - SECOND, ago):
        RevokedAccessToken.objects.create(jti=uuid.uuid4(), expires_at=at)
    # The token of the last one may still be unexpired for a host whose clock is behind.
    needed = RevokedAccessToken.objects.create(jti=uuid.uuid4(), expires_at=ago + SECOND)

    assert purge(now=now) == PurgeResult(revoked_access_tokens=3, finished=True)

    assert RevokedAccessToken.objects.get() == needed


def test_signing_keys_are_deleted_when_they_were_removed_longer_ago_than_the_retention(db):
    now = timezone.now()
    stay = set(SigningKey.objects.all()) | {
        make_key(),
        make_key(retired_at=now - 90 * DAY),
        make_key(removed_at=now + DAY),
        make_key(removed_at=now - 30 * DAY + SECOND),
    }
    make_key(removed_at=now - 30 * DAY)

    assert purge(now=now) == PurgeResult(signing_keys=1, finished=True)

    assert set(SigningKey.objects.all()) == stay


def test_events_are_removed_only_on_request(db):
    now = timezone.now()
    make_event(now - 365 * DAY)
    recent = make_event(now - 365 * DAY + SECOND)

    assert purge(now=now) == PurgeResult(finished=True)
    assert purge(now=now, events_older_than=365 * DAY) == PurgeResult(events=1, finished=True)

    assert SecurityEvent.objects.get() == recent


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 1_000])
def test_every_table_is_purged_with_any_batch_size(web_client, user, batch_size):
    now = timezone.now()
    past = now - 40 * DAY
    live = set()
    for number in range(45):
        dead = {"expires_at": past} if number % 3 else {}
        session = make_session(web_client, user, **dead)
        live |= set() if dead else {session.pk}
    for _ in range(7):
        # Many rows with the same timestamp: none may be skipped.
        RevokedAccessToken.objects.create(jti=uuid.uuid4(), expires_at=past)
        make_event(past)
        make_key(removed_at=past)

    result = purge(batch_size=batch_size, events_older_than=DAY)

    assert result == PurgeResult(
        sessions=30, revoked_access_tokens=7, events=7, signing_keys=7, finished=True
    )
    assert remaining() == live
    assert SecurityEvent.objects.count() == RevokedAccessToken.objects.count() == 0


def test_an_empty_batch_is_refused(db):
    with pytest.raises(ValueError, match="at least one row"):
        purge(batch_size=0)


# --- how -------------------------------------------------------------------------------------------


def test_it_uses_no_count_no_offset_and_orders_only_by_key(web_client, user, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ENDED_RETENTION": 0}
    make_sessions(25, web_client, user, expires_at=timezone.now() - SECOND)
    make_sessions(25, web_client, user)
    loaded = []
    receiver = lambda **_: loaded.append(1)  # noqa: E731
    post_init.connect(receiver, sender=RefreshToken)

    with CaptureQueriesContext(connection) as queries:
        assert purge(batch_size=10).sessions == 25

    post_init.disconnect(receiver, sender=RefreshToken)
    assert loaded == [], "rows were loaded in order to delete them"
    table = RefreshToken._meta.db_table
    statements = [query["sql"] for query in queries if table in query["sql"]]
    assert len(statements) == 1 + 3
    for statement in statements:
        assert "COUNT" not in statement
        assert "OFFSET" not in statement
    assert "ORDER BY" not in "".join(statements[1:])
    key = f"{connection.ops.quote_name(table)}.{connection.ops.quote_name('id')}"
    assert statements[0].partition("ORDER BY ")[2].startswith(("1 ASC LIMIT", f"{key} ASC LIMIT"))


def test_live_sessions_cost_no_write(web_client, user):
    make_sessions(25, web_client, user)

    with CaptureQueriesContext(connection) as queries:
        purge(batch_size=1)

    assert not [query["sql"] for query in queries if query["sql"].startswith(("DELETE", "BEGIN", "COMMIT"))]


def test_each_session_is_read_once(web_client, user):
    """Ten batches at a time."""
    make_sessions(25, web_client, user)

    with CaptureQueriesContext(connection) as queries:
        purge(batch_size=1)

    table = RefreshToken._meta.db_table
    readings = [
        query["sql"] for query in queries if query["sql"].startswith("SELECT") and table in query["sql"]
    ]
    assert len(readings) == 3


def test_a_session_that_was_refreshed_between_reading_and_deleting_survives(
    web_client, user, monkeypatch, settings
):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ENDED_RETENTION": 0}
    now = timezone.now()
    make_session(web_client, user, expires_at=now - SECOND)
    refreshed = make_session(web_client, user, expires_at=now - SECOND)
    delete = purging._delete

    def refresh_first(rows, *, using):
        RefreshToken.objects.filter(pk=refreshed.pk).update(expires_at=now + DAY)
        return delete(rows, using=using)

    monkeypatch.setattr(purging, "_delete", refresh_first)

    assert purge(now=now).sessions == 1
    assert remaining() == {refreshed.pk}


def test_a_site_that_listens_to_deletions_gets_a_signal_for_each_row(web_client, user):
    sessions = {make_session(web_client, user, expires_at=timezone.now() - 40 * DAY).pk for _ in range(5)}
    deleted = set()
    receiver = lambda instance, **_: deleted.add(instance.pk)  # noqa: E731
    post_delete.connect(receiver, sender=RefreshToken)

    result = purge(batch_size=2)

    post_delete.disconnect(receiver, sender=RefreshToken)
    assert result.sessions == 5
    assert deleted == sessions


def test_it_stops_when_its_time_is_up_and_the_next_run_continues(web_client, user):
    make_sessions(25, web_client, user, expires_at=timezone.now() - 40 * DAY)
    live = make_session(web_client, user).pk

    results = [purge(batch_size=10, max_seconds=0) for _ in range(4)]

    assert [result.sessions for result in results] == [10, 10, 5, 0]
    assert not any(result.finished for result in results[:2])
    assert remaining() == {live}
    assert purge(max_seconds=60) == PurgeResult(finished=True)


def test_it_also_stops_in_the_middle_of_live_sessions(web_client, user):
    make_sessions(25, web_client, user)

    assert purge(batch_size=1, max_seconds=0) == PurgeResult(finished=False)
    assert purge(batch_size=1) == PurgeResult(finished=True)


def test_it_reports_its_progress(web_client, user):
    make_sessions(25, web_client, user, expires_at=timezone.now() - 40 * DAY)
    RevokedAccessToken.objects.create(jti=uuid.uuid4(), expires_at=timezone.now() - DAY)
    progress = []

    purge(batch_size=10, on_progress=progress.append)

    assert progress == [
        PurgeResult(revoked_access_tokens=1),
        PurgeResult(revoked_access_tokens=1, sessions=10),
        PurgeResult(revoked_access_tokens=1, sessions=20),
        PurgeResult(revoked_access_tokens=1, sessions=25),
    ]


@pytest.mark.parametrize("error", [OperationalError("gone"), KeyboardInterrupt()])
def test_an_interruption_keeps_earlier_batches_and_a_rerun_does_the_rest(
    web_client, user, monkeypatch, error
):
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)
    make_sessions(25, web_client, user, expires_at=timezone.now() - 40 * DAY)
    delete = QuerySet.delete
    calls = []

    def fail_from_the_second_on(self):
        calls.append(1)
        result = delete(self)
        if len(calls) > 1:
            raise error
        return result

    monkeypatch.setattr(QuerySet, "delete", fail_from_the_second_on)

    with pytest.raises((TemporarilyUnavailable, KeyboardInterrupt)):
        purge(batch_size=10)

    assert len(remaining()) == 15
    monkeypatch.setattr(QuerySet, "delete", delete)
    assert purge(batch_size=10) == PurgeResult(sessions=15, finished=True)


def test_a_deadlock_is_retried(web_client, user, monkeypatch):
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)
    make_sessions(5, web_client, user, expires_at=timezone.now() - 40 * DAY)
    delete = QuerySet.delete
    errors = [OperationalError("deadlock")]

    def fail_once(self):
        if errors:
            raise errors.pop()
        return delete(self)

    monkeypatch.setattr(QuerySet, "delete", fail_once)

    assert purge() == PurgeResult(sessions=5, finished=True)


# --- volume ----------------------------------------------------------------------------------------

_FILL = """
INSERT INTO django_ciam_token_refreshtoken
    (id, client_id, user_id, scope, generation, secret_digest, nonce, session_auth_hash, issued_at,
     rotated_at, expires_at, revoked_at, revoked_reason, last_address, last_user_agent)
SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8'
        || substr(md5((-n)::text), 1, 15))::uuid,
    %s, %s, 'openid profile', 3, decode(md5(n::text) || md5(n::text), 'hex'), decode(md5(n::text), 'hex'),
    md5(n::text) || md5(n::text), now() - interval '90 days', now() - interval '61 days',
    CASE WHEN n %% 101 = 0 THEN now() + interval '1 day' ELSE now() - interval '60 days' END,
    NULL, '', '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'
FROM generate_series(1, %s) n
"""


def memory():
    """The memory of this process in megabytes; where the system does not report that, its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


class Watch(threading.Thread):
    """Measures again and again the longest transaction of other connections, and the memory."""

    def __init__(self):
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.longest = 0.0
        self.most_memory = 0.0
        self.looks = 0

    def run(self):
        try:
            with connection.cursor() as cursor:
                while not self.done.wait(0.01):
                    cursor.execute(
                        "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) "
                        "FROM pg_stat_activity WHERE datname = current_database() "
                        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                    )
                    self.longest = max(self.longest, float(cursor.fetchone()[0]))
                    self.most_memory = max(self.most_memory, memory())
                    self.looks += 1
        finally:
            connections.close_all()


class Refresher(threading.Thread):
    """Refreshes one session after the other until it is stopped."""

    def __init__(self, client, tokens):
        super().__init__(daemon=True)
        self.client, self.tokens = client, tokens
        self.done = threading.Event()
        self.statuses = []

    def run(self):
        try:
            while not self.done.is_set():
                token = self.tokens.pop(0)
                form = {
                    "grant_type": "refresh_token",
                    "client_id": self.client.client_id,
                    "client_secret": self.client.plain_secret,
                    "refresh_token": token,
                }
                response = post_form(form)
                self.statuses.append(response.status_code)
                self.tokens.append(response.json().get("refresh_token", token))
        finally:
            connections.close_all()


@pytest.mark.volume
@pytest.mark.skipif(connection.vendor != "postgresql", reason="the figures are documented for PostgreSQL")
def test_very_many_sessions_are_purged_while_the_site_is_busy(web_client):
    user = UserFactory()
    with connection.cursor() as cursor:
        cursor.execute(_FILL, [web_client.pk, user.pk, VOLUME])
    tokens = [issue_tokens(client=web_client, user=user)["refresh_token"] for _ in range(20)]
    live = RefreshToken.objects.filter(expires_at__gt=timezone.now()).count()
    assert live == VOLUME // 101 + 20
    watch, refresher = Watch(), Refresher(web_client, tokens)
    watch.start()
    refresher.start()
    before = memory()
    began = time.monotonic()

    result = purge()

    took = time.monotonic() - began
    grown = watch.most_memory - before
    for thread in (watch, refresher):
        thread.done.set()
        thread.join(30)
    sys.stderr.write(
        f"\n{VOLUME} sessions: {took:.1f} s, {grown:.0f} MB more, longest transaction {watch.longest:.3f} s "
        f"in {watch.looks} samples, {len(refresher.statuses)} refreshes\n"
    )
    assert result == PurgeResult(sessions=VOLUME - VOLUME // 101, finished=True)
    assert RefreshToken.objects.count() == live
    assert grown < 100
    assert watch.looks
    assert watch.longest < 1
    assert refresher.statuses
    assert set(refresher.statuses) == {200}
