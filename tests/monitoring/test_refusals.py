"""Refused refreshes leave a trace of the session, bounded, and without delaying any answer."""

from __future__ import annotations

import base64
import threading
import time
import uuid
from datetime import timedelta
from functools import partial

import pytest
from django.db import OperationalError, ProgrammingError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.api import RevocationReason, issue_tokens
from django_ciam_token.caller import Caller
from django_ciam_token.models import RefreshRefusal, RefreshToken
from django_ciam_token.monitoring import refusals
from django_ciam_token.monitoring.allowance import Allowance
from django_ciam_token.monitoring.erasure import erase_person
from django_ciam_token.monitoring.refusals import KEPT, note_refusal
from django_ciam_token.purging import purge
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory
from tests.locks import held_elsewhere, row_locks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def unlimited(monkeypatch):
    """Take away the allowances, so that only the slots bound what is written."""
    generous = Allowance(at_once=1_000, every=0.001)
    monkeypatch.setattr(refusals, "_of_session", generous)
    monkeypatch.setattr(refusals, "_in_all", generous)


@pytest.fixture
def session(first_tokens):
    return RefreshToken.objects.get()


def note(session, reason="revoked", address="192.0.2.7", user_agent="curl/8", client=None):
    note_refusal(
        session_id=session.pk, client=client, reason=reason, caller=Caller(address, user_agent), sender=None
    )


def noted():
    return list(RefreshRefusal.objects.order_by("slot").values_list("slot", "reason", "number"))


def end_all():
    RefreshToken.objects.update(revoked_at=timezone.now(), revoked_reason=RevocationReason.OPERATOR)


def test_a_refused_refresh_is_noted_with_reason_time_address_and_device(
    web_client, user, session, first_tokens
):
    user.set_password("another horse")
    user.save()
    before = timezone.now()
    form = {
        "grant_type": "refresh_token",
        "client_id": web_client.client_id,
        "client_secret": web_client.plain_secret,
        "refresh_token": first_tokens["refresh_token"],
    }

    response = post_form(form, REMOTE_ADDR="192.0.2.9", HTTP_USER_AGENT="Firefox/140")

    assert response.json() == {"error": "invalid_grant"}
    row = RefreshRefusal.objects.get()
    assert (row.session_id, row.slot, row.number) == (session.pk, 0, 1)
    assert (row.reason, row.address, row.user_agent) == ("password_changed", "192.0.2.9", "Firefox/140")
    assert (row.client_id, row.user_id) == (web_client.client_id, str(user.pk))
    assert before <= row.first_at == row.last_at <= timezone.now()
    assert str(row).startswith("password_changed 20")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"is_active": False}, "client_disabled"),
        ({"refresh_tokens_enabled": False}, "refresh_tokens_disabled"),
        ({"scope": "email"}, "scope_withdrawn"),
    ],
)
def test_what_an_operator_changed_at_the_client_is_noted(web_client, first_tokens, refresh, change, reason):
    type(web_client).objects.update(**change)

    assert refresh(web_client, first_tokens["refresh_token"]).status_code in (400, 401)

    assert noted() == [(0, reason, 1)]


def test_a_reuse_is_noted_and_so_is_what_the_application_tries_afterwards(web_client, first_tokens, refresh):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, second)
    refresh(web_client, first_tokens["refresh_token"])
    refresh(web_client, second)

    assert noted() == [(0, "reuse", 1), (1, "revoked", 1)]


def test_another_client_that_presents_the_token_is_named(session, first_tokens, refresh):
    thief = ClientFactory()

    refresh(thief, first_tokens["refresh_token"])

    [row] = RefreshRefusal.objects.all()
    assert (row.reason, row.client_id, row.session_id) == ("wrong_client", thief.client_id, session.pk)


def test_a_wrong_secret_with_a_genuine_token_is_noted_without_a_client(web_client, first_tokens, refresh):
    refresh(web_client, first_tokens["refresh_token"], client_secret="x" * 43)

    [row] = RefreshRefusal.objects.all()
    assert (row.reason, row.client_id) == ("wrong_secret", "")


def test_nobody_without_a_genuine_token_can_write(web_client, first_tokens, refresh):
    token = first_tokens["refresh_token"]
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")

    for wrong in (forged, "garbage", f"ciam_rt1_{'A' * 90}"):
        assert refresh(web_client, wrong).status_code == 400

    assert not RefreshRefusal.objects.exists()


def test_of_a_session_that_is_gone_nothing_is_noted(web_client, session, first_tokens, refresh):
    session.delete()

    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 400

    assert not RefreshRefusal.objects.exists()


def test_a_successful_refresh_and_a_replay_make_no_statement_more(web_client, first_tokens, refresh):
    with CaptureQueriesContext(connection) as queries:
        assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200
        assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200

    assert len(queries) > 2
    assert not [query for query in queries if "refusal" in query["sql"].lower()]


def test_the_same_again_from_the_same_place_is_counted_in_one_row(session, unlimited):
    for _ in range(5):
        note(session)
    note(session, address="192.0.2.8")

    assert noted() == [(0, "revoked", 5), (1, "revoked", 1)]
    first = RefreshRefusal.objects.get(slot=0)
    assert first.first_at < first.last_at


def test_a_session_has_ten_rows_at_most_of_which_the_first_is_never_overwritten(session, unlimited):
    note(session, reason="reuse")
    for number in range(25):
        note(session, user_agent=f"device {number}")

    rows = RefreshRefusal.objects.order_by("-last_at", "-pk")
    assert RefreshRefusal.objects.count() == KEPT
    assert RefreshRefusal.objects.get(slot=0).reason == "reuse"
    assert {row.user_agent for row in rows} == {"curl/8", *(f"device {number}" for number in range(16, 25))}


def test_a_flood_costs_a_process_ten_writes_for_one_session_and_then_no_statement(session):
    for number in range(KEPT):
        note(session, user_agent=f"device {number}")

    with CaptureQueriesContext(connection) as queries:
        for number in range(100):
            note(session, user_agent=f"later {number}")

    assert len(queries) == 0
    assert RefreshRefusal.objects.count() == KEPT


def test_many_sessions_that_are_refused_at_once_share_one_allowance(session, monkeypatch):
    monkeypatch.setattr(refusals, "_in_all", Allowance(at_once=3, every=1_000.0))

    with CaptureQueriesContext(connection) as queries:
        for _ in range(50):
            note(RefreshToken(id=uuid.uuid4()))

    assert len([query for query in queries if query["sql"].startswith("SELECT")]) == 3


def test_without_the_audit_trail_nothing_is_noted(session, settings, web_client, first_tokens, refresh):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUDIT_TRAIL": False}
    end_all()

    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 400

    assert not RefreshRefusal.objects.exists()


def test_a_trace_that_cannot_be_written_changes_no_answer(
    web_client, session, first_tokens, refresh, monkeypatch, caplog
):
    end_all()
    calls = []

    def fail(*args, **kwargs):
        calls.append(1)
        raise OperationalError("disk full")

    monkeypatch.setattr(refusals, "_write", fail)

    for _ in range(3):
        response = refresh(web_client, first_tokens["refresh_token"])
        assert (response.status_code, response.json()) == (400, {"error": "invalid_grant"})

    assert len(calls) == 1, "after a failure it is not tried for a while"
    [record] = [r for r in caplog.records if getattr(r, "event", "") == "refusal_not_noted"]
    assert record.session_id == str(session.pk)


def test_a_table_that_is_missing_changes_no_answer(web_client, first_tokens, refresh, monkeypatch):
    end_all()
    monkeypatch.setattr(RefreshRefusal._meta, "db_table", "no_such_table")

    response = refresh(web_client, first_tokens["refresh_token"])

    assert (response.status_code, response.json()) == (400, {"error": "invalid_grant"})
    assert RefreshToken.objects.exists()


@pytest.mark.parametrize("secret", ["%ff", "wrong"])
def test_what_a_receiver_raises_is_logged_without_the_refusal(web_client, first_tokens, caplog, secret):
    """In the frames of the refusal is the client's secret."""

    def fail(**arguments):
        raise RuntimeError("of the site")

    basic = base64.b64encode(f"{web_client.client_id}:{secret}".encode()).decode()
    form = {"grant_type": "refresh_token", "refresh_token": first_tokens["refresh_token"]}
    signals.refresh_refused.connect(fail)
    try:
        response = post_form(form, headers={"Authorization": f"Basic {basic}"})
    finally:
        signals.refresh_refused.disconnect(fail)

    assert response.status_code == 401
    [error] = [record.exc_info[1] for record in caplog.records if record.name == "django.dispatch"]
    assert (error.__context__, error.__cause__) == (None, None)


def test_no_answer_waits_for_a_lock_on_the_trace(session):
    note(session)

    with held_elsewhere(partial(row_locks, RefreshRefusal)):
        begun = time.monotonic()
        note(session)
        took = time.monotonic() - begun

    assert took < 2
    assert noted() == [(0, "revoked", 1)]


def test_a_transaction_of_the_caller_is_not_part_of_it(web_client, session, first_tokens, refresh):
    end_all()

    with transaction.atomic():
        assert refresh(web_client, first_tokens["refresh_token"]).status_code == 400
        transaction.set_rollback(True)
    assert not RefreshRefusal.objects.exists()

    with transaction.atomic():
        refresh(web_client, first_tokens["refresh_token"])
        assert not RefreshRefusal.objects.exists(), "it is written after the COMMIT"
    assert noted() == [(0, "revoked", 1)]


def test_a_slot_that_another_request_took_first_is_not_fought_over(session, monkeypatch):
    real, calls = refusals._insert, []

    def slow(refusal, slot, *, using):
        if not calls:
            calls.append(slot)
            RefreshRefusal.objects.create(
                session_id=session.pk,
                slot=slot,
                reason="reuse",
                first_at=timezone.now(),
                last_at=timezone.now(),
            )
        return real(refusal, slot, using=using)

    monkeypatch.setattr(refusals, "_insert", slow)

    note(session)

    assert noted() == [(0, "reuse", 1), (1, "revoked", 1)]


def test_two_at_once_leave_both_or_one_and_no_error(session, unlimited, caplog):
    barrier = threading.Barrier(4)

    def run(number):
        barrier.wait()
        note(session, user_agent=f"device {number}")
        connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    slots = [slot for slot, _, _ in noted()]
    assert 1 <= len(slots) <= 4
    assert slots == list(range(len(slots)))
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_purging_removes_refusals_after_the_retention_of_what_has_ended(session, settings):
    note(session)
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ENDED_RETENTION": timedelta(days=30)}

    assert purge().refusals == 0
    assert purge(now=timezone.now() + timedelta(days=31)).refusals == 1
    assert not RefreshRefusal.objects.exists()


def test_erasing_a_person_removes_their_refusals_and_no_others(session, user, web_client, unlimited):
    issue_tokens(client=web_client, user=UserFactory())
    note(session)
    note(RefreshToken.objects.exclude(pk=session.pk).get())
    user_key = str(user.pk)
    user.delete()

    erase_person(user_key=user_key, dry_run=True)
    assert RefreshRefusal.objects.count() == 2
    erase_person(user_key=user_key, batch_size=1)

    [row] = RefreshRefusal.objects.all()
    assert row.user_id not in ("", user_key)


def test_the_signal_says_what_was_refused(web_client, session, first_tokens, refresh, traces):
    end_all()

    refresh(web_client, first_tokens["refresh_token"])

    [sent] = traces.of(signals.refresh_refused)
    assert (sent["session_id"], sent["client"], sent["reason"]) == (session.pk, web_client, "revoked")


def test_two_who_take_each_others_slots_give_up(session, monkeypatch):
    calls = []
    monkeypatch.setattr(refusals, "_write", lambda refusal, *, using: calls.append(1))

    note(session)

    assert len(calls) == 2
    assert noted() == []


def test_an_error_that_is_no_refusal_is_left_to_the_sender_of_the_signal(session, monkeypatch):
    def fail(*args, **kwargs):
        raise ProgrammingError("no such column")

    monkeypatch.setattr(refusals, "_write", fail)

    with pytest.raises(ProgrammingError):
        note(session)
