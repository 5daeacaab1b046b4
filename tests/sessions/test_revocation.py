from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.models import QuerySet
from django.db.models.signals import post_init
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.api import issue_tokens
from django_ciam_token.caller import Caller
from django_ciam_token.database import retry
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import RefreshToken, RevocationReason, SecurityEvent
from django_ciam_token.monitoring import audit_trail
from django_ciam_token.sessions import revocation
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.sessions.revocation import revoke_session, revoke_sessions
from tests.factories import UserFactory, live_ids, make_session, make_sessions

pytestmark = pytest.mark.django_db(transaction=True)

USER = RevocationReason.USER
OPERATOR = RevocationReason.OPERATOR
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def nobody_listens():
    """Take every receiver away, also those of the tests and of the audit trail."""
    both = (signals.session_revoked, signals.sessions_revoked)
    receivers = [signal.receivers for signal in both]
    for signal in both:
        silence(signal)
    yield
    for signal, former in zip(both, receivers, strict=True):
        silence(signal)
        signal.receivers = former


def silence(signal):
    """Take every receiver away."""
    signal.receivers = []
    signal.sender_receivers_cache.clear()


@pytest.fixture
def heard(nobody_listens):
    """What the only listener there is was told."""
    told = []

    def receive(sender, signal, **arguments):
        told.append({"sender": sender, **arguments})

    signals.session_revoked.connect(receive)
    yield told
    signals.session_revoked.disconnect(receive)


def test_a_user_signs_out_all_other_devices(web_client, spa_client, user, refresh, caplog):
    here = issue_tokens(client=web_client, user=user)
    this_session = RefreshToken.objects.get().pk
    there = issue_tokens(client=spa_client, user=user)
    other = issue_tokens(client=web_client, user=UserFactory())

    assert revoke_sessions(SessionCriteria(user=user, except_session=this_session), reason=USER) == 1

    assert refresh(spa_client, there["refresh_token"]).json() == {"error": "invalid_grant"}
    assert refresh(web_client, here["refresh_token"]).status_code == 200
    assert refresh(web_client, other["refresh_token"]).status_code == 200
    ended = RefreshToken.objects.exclude(revoked_at=None).get()
    assert ended.revoked_reason == "user"
    [record] = [record for record in caplog.records if "sessions revoked" in record.getMessage()]
    assert (record.sessions, record.user, record.except_session) == (1, user.username, str(this_session))
    assert abs(ended.revoked_at - timezone.now()) < timedelta(minutes=1)


def test_nobody_ends_everything_by_accident(web_client, user):
    make_session(web_client, user)

    for criteria in ({}, {"user": None}, {"user": None, "except_session": uuid.uuid4()}):
        with pytest.raises(ValueError, match="everything=True"):
            revoke_sessions(SessionCriteria(**criteria), reason=OPERATOR)
    with pytest.raises(ValueError, match="at least one row"):
        revoke_sessions(SessionCriteria(), reason=OPERATOR, everything=True, batch_size=0)

    assert len(live_ids()) == 1
    assert revoke_sessions(SessionCriteria(), reason=OPERATOR, everything=True) == 1
    assert live_ids() == set()


def test_every_criterion_is_heeded_when_sessions_are_ended(web_client, spa_client, user):
    ago = timezone.now() - 5 * HOUR
    criteria = {
        "user": user,
        "client": web_client,
        "issued_before": ago + HOUR,
        "idle_since": ago + HOUR,
    }
    chosen = make_session(web_client, user, issued_at=ago)
    spared = {
        make_session(web_client, UserFactory(), issued_at=ago).pk,
        make_session(spa_client, user, issued_at=ago).pk,
        make_session(web_client, user).pk,
        make_session(web_client, user, issued_at=ago, rotated_at=timezone.now()).pk,
    }

    assert revoke_sessions(SessionCriteria(**criteria, session_id=uuid.uuid4()), reason=OPERATOR) == 0
    assert revoke_sessions(SessionCriteria(**criteria, session_id=chosen.pk), reason=OPERATOR) == 1

    assert live_ids() == spared


def test_a_queryset_may_say_which_and_criteria_narrow_it(web_client, spa_client, user):
    by_web = make_session(web_client, user)
    by_spa = make_session(spa_client, user)
    of_other = make_session(web_client, UserFactory())
    chosen = (
        RefreshToken.objects.filter(user__username=user.username).select_related("client").order_by("scope")
    )

    assert revoke_sessions(SessionCriteria(among=chosen, client=web_client), reason=OPERATOR) == 1
    assert live_ids() == {by_spa.pk, of_other.pk}
    assert revoke_sessions(SessionCriteria(among=chosen), reason=OPERATOR) == 1
    assert live_ids() == {of_other.pk}
    assert by_web.pk not in live_ids()


def test_the_log_names_what_a_queryset_chose_and_otherwise_the_criteria(web_client, user, traces):
    chosen, other = make_session(web_client, user), make_session(web_client, user)

    revoke_sessions(SessionCriteria(among=RefreshToken.objects.filter(pk=chosen.pk)), reason=OPERATOR)
    revoke_sessions(SessionCriteria(user=user), reason=OPERATOR)

    by_query, by_user = [line for line in traces.logged if "'event': 'revoked'" in line]
    assert f"'session_ids': ['{chosen.pk}']" in by_query
    assert "session_ids" not in by_user
    assert str(other.pk) not in by_user


def test_what_was_ended_before_keeps_its_reason_and_is_not_counted(web_client, user, heard):
    before = timezone.now() - HOUR
    make_session(web_client, user, revoked_at=before, revoked_reason="reuse")
    make_session(web_client, user, expires_at=before)
    make_session(web_client, user)

    assert revoke_sessions(SessionCriteria(user=user), reason=USER) == 1
    assert revoke_sessions(SessionCriteria(user=user), reason=USER) == 0

    assert RefreshToken.objects.filter(revoked_at=before, revoked_reason="reuse").count() == 1
    assert len(heard) == 1


def test_a_session_that_a_refresh_is_about_to_extend_is_ended(web_client, user):
    make_session(web_client, user, expires_at=timezone.now() - timedelta(seconds=5))

    revoke_sessions(SessionCriteria(user=user), reason=USER)

    assert live_ids() == set()


@pytest.mark.parametrize("batch_size", [1, 3, 5, 6, 7, 100])
def test_batches_of_any_size_end_all_and_tell_how_far_they_are(web_client, user, batch_size):
    make_sessions(6, web_client, user)
    spared = make_session(web_client, UserFactory()).pk
    progress = []

    ended = revoke_sessions(
        SessionCriteria(user=user), reason=USER, batch_size=batch_size, on_progress=progress.append
    )

    assert ended == 6
    assert live_ids() == {spared}
    steps = [*range(batch_size, 6, batch_size), 6]
    assert progress == steps


@pytest.mark.parametrize(("number", "listened"), [(10_000, False), (2_000, True)])
def test_thousands_of_sessions_of_a_user_take_a_handful_of_statements(
    web_client, user, nobody_listens, number, listened
):
    make_sessions(number, web_client, user)
    make_sessions(50, web_client, UserFactory())
    told = []
    if listened:
        receiver = lambda session, **_: told.append((session.client.client_id, session.user.username))  # noqa: E731
        signals.session_revoked.connect(receiver)

    with CaptureQueriesContext(connection) as queries:
        assert revoke_sessions(SessionCriteria(user=user), reason=USER) == number

    most = connection.features.max_query_params
    batches = 2 if most is None or most > 10_050 else 12
    assert len(queries) <= batches * (7 if listened else 4)
    assert sum(query["sql"].startswith("UPDATE") for query in queries) <= max(batches - 1, 1)
    assert len(live_ids()) == 50
    assert len(told) == (number if listened else 0)


def test_the_audit_trail_of_thousands_of_sessions_takes_a_handful_of_statements_as_well(
    web_client, user, nobody_listens
):
    audit_trail.connect()
    make_sessions(2_000, web_client, user)

    with CaptureQueriesContext(connection) as queries:
        assert revoke_sessions(SessionCriteria(user=user), reason=USER, actor="operator") == 2_000

    assert len(queries) <= (20 if connection.vendor != "sqlite" else 60)
    events = SecurityEvent.objects.filter(event="revoked", reason="user", actor="operator")
    assert events.count() == 2_000


def test_no_row_is_read_for_signals_that_nobody_hears(web_client, user, nobody_listens):
    make_sessions(10, web_client, user)
    loaded = []
    receiver = lambda **_: loaded.append(1)  # noqa: E731
    post_init.connect(receiver, sender=RefreshToken)

    revoke_sessions(SessionCriteria(user=user), reason=USER)

    post_init.disconnect(receiver, sender=RefreshToken)
    assert loaded == []
    assert live_ids() == set()


def test_who_listens_is_told_of_each_session_after_the_commit(web_client, user, heard):
    make_sessions(3, web_client, user)
    caller = Caller(address="192.0.2.1", user_agent="curl")

    with transaction.atomic():
        revoke_sessions(
            SessionCriteria(user=user), reason=OPERATOR, actor="root", caller=caller, batch_size=2
        )
        assert heard == []

    assert {arguments["session"].pk for arguments in heard} == set(
        RefreshToken.objects.values_list("pk", flat=True)
    )
    for arguments in heard:
        session = arguments.pop("session")
        assert arguments == {
            "sender": RefreshToken, "reason": "operator", "actor": "root", "caller": caller,
        }  # fmt: skip
        assert (session.revoked_reason, session.client, session.user) == ("operator", web_client, user)
        assert session.revoked_at == RefreshToken.objects.get(pk=session.pk).revoked_at


def test_nobody_is_told_of_what_is_rolled_back(web_client, user, heard):
    make_sessions(3, web_client, user)

    with transaction.atomic():
        revoke_sessions(SessionCriteria(user=user), reason=OPERATOR)
        transaction.set_rollback(True)

    assert heard == []
    assert len(live_ids()) == 3


def test_an_error_in_the_middle_leaves_earlier_batches_done_and_a_rerun_finishes(
    web_client, user, monkeypatch, heard
):
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)
    make_sessions(10, web_client, user)
    update = QuerySet.update
    calls = []

    def fail_from_the_third_on(self, **values):
        calls.append(1)
        if len(calls) > 2:
            raise OperationalError("gone")
        return update(self, **values)

    monkeypatch.setattr(QuerySet, "update", fail_from_the_third_on)
    progress = []

    with pytest.raises(TemporarilyUnavailable):
        revoke_sessions(SessionCriteria(user=user), reason=USER, batch_size=3, on_progress=progress.append)

    assert progress == [3, 6]
    assert len(live_ids()) == 4
    monkeypatch.setattr(QuerySet, "update", update)
    assert revoke_sessions(SessionCriteria(user=user), reason=USER, batch_size=3) == 4
    assert len(heard) == len({arguments["session"].pk for arguments in heard}) == 10


@pytest.mark.parametrize("listened", [False, True])
def test_after_a_commit_of_unknown_outcome_each_session_counts_and_is_told_of_once(
    web_client, user, monkeypatch, heard, listened
):
    if not listened:
        silence(signals.session_revoked)
        silence(signals.sessions_revoked)
    make_sessions(3, web_client, user)
    calls = []

    class BreaksAfterCommit:
        def __init__(self, using):
            self.atomic = transaction.Atomic(using, savepoint=True, durable=False)

        def __enter__(self):
            self.atomic.__enter__()

        def __exit__(self, *error):
            self.atomic.__exit__(*error)
            calls.append(1)
            if len(calls) == 1:
                raise OperationalError("the connection broke during COMMIT")

    monkeypatch.setattr(revocation.transaction, "atomic", BreaksAfterCommit)

    ended = revoke_sessions(SessionCriteria(user=user), reason=USER)

    assert len(calls) == 2
    assert ended == 3
    assert live_ids() == set()
    assert len(heard) == (3 if listened else 0)


def test_a_revocation_of_another_request_is_not_taken_for_ours(web_client, user, monkeypatch, heard):
    """The database refuses once; before it is asked again, somebody else ends the session."""
    session = make_session(web_client, user)
    real = QuerySet.update

    def refuse(rows, **values):
        raise OperationalError("deadlock")

    def end_by_somebody_else(seconds):
        monkeypatch.setattr(QuerySet, "update", real)
        RefreshToken.objects.update(revoked_at=timezone.now(), revoked_reason=OPERATOR)

    monkeypatch.setattr(QuerySet, "update", refuse)
    monkeypatch.setattr(retry.time, "sleep", end_by_somebody_else)

    assert revoke_session(session, reason=USER, now=timezone.now()) is False

    assert heard == []
    session.refresh_from_db()
    assert session.revoked_reason == OPERATOR


def test_the_same_request_at_the_same_instant_ends_a_session_once(web_client, user, heard):
    """Two hosts whose clocks agree to the microsecond."""
    session, now = make_session(web_client, user), timezone.now()

    assert revoke_session(session, reason=USER, now=now) is True
    assert revoke_session(session, reason=USER, now=now) is False

    assert len(heard) == 1


def test_a_session_that_is_refreshed_meanwhile_is_idle_no_longer(web_client, user, monkeypatch):
    ago = timezone.now() - 5 * HOUR
    idle = make_session(web_client, user, issued_at=ago)
    refreshed = make_session(web_client, user, issued_at=ago)
    revoke_batch = revocation._revoke_batch

    def refresh_first(*args, **kwargs):
        RefreshToken.objects.filter(pk=refreshed.pk).update(rotated_at=timezone.now())
        return revoke_batch(*args, **kwargs)

    monkeypatch.setattr(revocation, "_revoke_batch", refresh_first)

    assert revoke_sessions(SessionCriteria(idle_since=ago + HOUR), reason=OPERATOR) == 1
    assert live_ids() == {refreshed.pk}
    assert idle.pk not in live_ids()


def test_a_long_revocation_goes_on_to_mean_the_same_instant(web_client, user):
    instant = timezone.now() - HOUR
    idle = make_session(web_client, user, issued_at=instant - HOUR, rotated_at=instant - HOUR)
    time.sleep(0.002)
    busy = make_session(web_client, user, issued_at=instant - HOUR, rotated_at=instant + 0.5 * SECOND)

    ended = revoke_sessions(
        SessionCriteria(idle_since=instant),
        reason=OPERATOR,
        batch_size=1,
        on_progress=lambda ended: time.sleep(1),
    )

    assert ended == 1
    assert idle.pk < busy.pk  # So that there was a batch after the pause.
    assert live_ids() == {busy.pk}


@pytest.mark.parametrize("own_lifetime", [None, 2 * HOUR])
def test_a_session_that_expired_lately_is_ended_for_its_access_tokens(web_client, user, own_lifetime):
    web_client.access_token_lifetime = own_lifetime
    web_client.save()
    now = timezone.now()
    good_for = own_lifetime or timedelta(minutes=5)
    lately = make_session(web_client, user, expires_at=now - good_for + SECOND)
    # A minute is for a refresh that is in progress.
    long_ago = make_session(web_client, user, expires_at=now - good_for - 61 * SECOND)

    assert revoke_sessions(SessionCriteria(user=user), reason=OPERATOR) == 1

    assert live_ids() == {long_ago.pk}
    assert lately.pk not in live_ids()


def test_two_revocations_at_once_count_and_tell_each_session_once(web_client, user, heard):
    make_sessions(300, web_client, user)
    barrier = threading.Barrier(2)
    counts = []

    def revoke():
        barrier.wait()
        counts.append(revoke_sessions(SessionCriteria(user=user), reason=USER, batch_size=20))
        connections.close_all()

    threads = [threading.Thread(target=revoke) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == 300
    assert len(heard) == len({arguments["session"].pk for arguments in heard}) == 300
