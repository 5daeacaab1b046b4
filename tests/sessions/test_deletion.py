"""Sessions that end because their row is deleted are reported like any that end."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from unittest.mock import Mock, patch

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, transaction
from django.db.models.signals import pre_delete
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.api import issue_tokens
from django_ciam_token.caller import NOBODY
from django_ciam_token.models import Client, RefreshToken, SecurityEvent
from django_ciam_token.sessions import deletion
from tests.factories import UserFactory, make_session, unsaved_session

pytestmark = pytest.mark.django_db(transaction=True)


def keys(sent):
    return {session.pk for arguments in sent for session in arguments["sessions"]}


def test_the_live_sessions_of_a_deleted_user_are_reported(web_client, spa_client, machine, user, traces):
    mine = {make_session(web_client, user).pk, make_session(spa_client, user).pk}
    make_session(web_client, user, revoked_at=timezone.now(), revoked_reason="user")
    make_session(web_client, user, expires_at=timezone.now() - timedelta(seconds=1))
    make_session(web_client, UserFactory())
    make_session(machine)
    key = user.pk

    user.delete()

    [sent] = traces.of(signals.sessions_revoked)
    assert {session.pk for session in sent["sessions"]} == mine
    assert (sent["reason"], sent["actor"], sent["caller"]) == ("user_deleted", "", NOBODY)
    assert {session.user.pk for session in sent["sessions"]} == {key}
    assert {session.client for session in sent["sessions"]} == {web_client, spa_client}
    assert {session.revoked_reason for session in sent["sessions"]} == {"user_deleted"}
    one_by_one = traces.of(signals.session_revoked)
    assert {arguments["session"].pk for arguments in one_by_one} == mine
    assert {arguments["reason"] for arguments in one_by_one} == {"user_deleted"}
    assert set(
        SecurityEvent.objects.values_list("event", "user_id", "session_id", "client_id", "reason")
    ) == {
        ("revoked", str(key), session.pk, session.client.client_id, "user_deleted")
        for session in sent["sessions"]
    }
    [line] = [line for line in traces.logged if "2 sessions ended: user_deleted" in line]
    assert f"'user_id': '{key}'" in line


def test_the_live_sessions_of_a_deleted_client_are_reported(web_client, spa_client, user, traces):
    make_session(spa_client, user)
    mine = {make_session(web_client, user).pk, make_session(web_client).pk}
    key = web_client.pk

    Client.objects.filter(pk=key).delete()

    [sent] = traces.of(signals.sessions_revoked)
    assert {session.pk for session in sent["sessions"]} == mine
    assert sent["reason"] == "client_deleted"
    assert {session.user for session in sent["sessions"]} == {user, None}
    assert {(session.client.pk, session.client.client_id) for session in sent["sessions"]} == {
        (key, web_client.client_id)
    }
    events = SecurityEvent.objects.values_list("client_id", "reason", "user_id")
    assert set(events) == {(web_client.client_id, "client_deleted", owner) for owner in ("", str(user.pk))}
    [line] = [line for line in traces.logged if "2 sessions ended: client_deleted" in line]
    assert f"'client_id': '{web_client.client_id}'" in line


def test_a_deletion_that_is_rolled_back_is_not_reported(web_client, user, traces):
    make_session(web_client, user)

    with transaction.atomic():
        user.delete()
        transaction.set_rollback(True)

    assert RefreshToken.objects.count() == 1
    assert traces.of(signals.session_revoked) == []


def test_users_who_are_deleted_together_are_reported_each(web_client, traces):
    users = [UserFactory() for _ in range(3)]
    mine = {make_session(web_client, user).pk for user in users[:2]}

    get_user_model().objects.filter(pk__in=[user.pk for user in users]).delete()

    assert keys(traces.of(signals.sessions_revoked)) == mine


@pytest.mark.skipif("not connection.features.has_select_for_update")
def test_whoever_ends_a_session_meanwhile_waits_so_that_its_end_is_reported_once(web_client, user):
    make_session(web_client, user)

    with CaptureQueriesContext(connection) as queries:
        user.delete()

    table = connection.ops.quote_name(RefreshToken._meta.db_table)
    statements = [query["sql"] for query in queries if table in query["sql"]]
    assert "FOR UPDATE" in statements[0]


def test_where_django_opens_no_transaction_nothing_is_locked(web_client, user, traces):
    session = make_session(web_client, user)

    pre_delete.send(sender=get_user_model(), instance=user, using="default", origin=user)

    assert keys(traces.of(signals.sessions_revoked)) == {session.pk}


@pytest.fixture
def refuse(monkeypatch):
    """Let the database refuse so many attempts to read what is reported after the COMMIT of a deletion."""

    def refuse(attempts):
        refusals = iter(range(attempts))
        prefetch = deletion.prefetch_related_objects

        def refused(*arguments):
            if next(refusals, None) is not None:
                raise OperationalError("server closed the connection unexpectedly")
            prefetch(*arguments)

        monkeypatch.setattr(deletion, "prefetch_related_objects", refused)
        monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)

    return refuse


def test_a_connection_that_breaks_after_the_deletion_leaves_nothing_unreported(
    web_client, user, traces, refuse
):
    session = make_session(web_client, user)
    refuse(1)

    user.delete()

    assert keys(traces.of(signals.sessions_revoked)) == {session.pk}


def test_a_deletion_that_can_not_be_reported_is_done_and_logged(web_client, user, traces, refuse):
    make_session(web_client, user)
    refuse(100)

    user.delete()

    assert not get_user_model().objects.filter(username=user.username).exists()
    assert traces.of(signals.sessions_revoked) == []
    assert any("_before_deletion.<locals>.report" in line for line in traces.logged)


def test_a_connection_that_breaks_before_the_cursor_is_closed_is_an_error_of_django(web_client, user):
    """On PostgreSQL that CLOSE is a statement, and of its errors Django translates none."""
    make_session(web_client, user)
    connection.ensure_connection()
    open_cursor = connection.chunked_cursor

    def chunked_cursor():
        cursor = open_cursor()
        cursor.close = Mock(side_effect=connection.Database.OperationalError("terminating connection"))
        return cursor

    with patch.object(connection, "chunked_cursor", chunked_cursor), pytest.raises(OperationalError):
        web_client.delete()

    assert Client.objects.filter(pk=web_client.pk).exists()


def test_a_refresh_after_that_is_refused(web_client, user, refresh):
    token = issue_tokens(client=web_client, user=user)["refresh_token"]

    user.delete()

    assert refresh(web_client, token).json() == {"error": "invalid_grant"}


def test_a_proxy_of_the_user_is_listened_to_and_a_child_is_not():
    """A child is deleted with the row of its parent, which is reported."""
    with isolate_apps("django.contrib.auth"):

        class Customer(get_user_model()):
            class Meta:
                app_label = "auth"
                proxy = True

        class Employee(get_user_model()):
            class Meta:
                app_label = "auth"

    for model in (Customer, Employee):
        deletion.report_deletions(model)
    try:
        assert pre_delete.has_listeners(Customer)
        assert not pre_delete.has_listeners(Employee)
    finally:
        pre_delete.disconnect(sender=Customer, dispatch_uid=deletion._UID)


def test_all_models_of_users_and_clients_are_listened_to_and_no_other():
    heard = {model for model in apps.get_models() if pre_delete.has_listeners(model)}

    # Django would load every session that it deletes if somebody listened to that.
    assert RefreshToken not in heard
    assert {get_user_model(), Client} <= heard


def very_many(client, user, number):
    RefreshToken.objects.bulk_create([unsaved_session(client, user) for _ in range(number)], batch_size=1_000)


def cost_of_deleting(user):
    """The number of statements, and the most memory in bytes."""
    statements = []

    def count(execute, *arguments):
        statements.append(None)
        return execute(*arguments)

    tracemalloc.start(1)
    try:
        with connection.execute_wrapper(count):
            user.delete()
        return len(statements), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_user_with_very_many_sessions_costs_neither_memory_nor_statements(web_client):
    heard: list[int] = []

    def receive(sessions, **_):
        heard.append(len(sessions))

    # The fixture that looks for secrets would keep everything that is signalled.
    for signal in (signals.session_revoked, signals.sessions_revoked):
        signal.disconnect(dispatch_uid="traces")
    few, many = UserFactory(), UserFactory()
    very_many(web_client, few, 1_000)
    very_many(web_client, many, 5_000)
    signals.sessions_revoked.connect(receive)
    try:
        statements, memory = cost_of_deleting(few)
        more_statements, more_memory = cost_of_deleting(many)
    finally:
        signals.sessions_revoked.disconnect(receive)

    assert sum(heard) == 6_000
    assert max(heard) <= 1_000
    assert SecurityEvent.objects.filter(reason="user_deleted").count() == 6_000
    # SQLite inserts about a hundred events at once.
    assert more_statements - statements < 4_000 / 50
    # Bytes of each session; as a model instance it would take more than a thousand.
    assert more_memory - memory < 4_000 * 200
