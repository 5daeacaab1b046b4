"""What happens to a session when its tokens are used, late, twice, stolen, or by somebody else."""

from __future__ import annotations

import json
import time
import uuid
from datetime import timedelta

import jwt
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.api import issue_tokens
from django_ciam_token.clients import authentication
from django_ciam_token.clients.secrets import import_client_secret
from django_ciam_token.crypto import refresh_token_string, site_keys
from django_ciam_token.grants import TokenRequest
from django_ciam_token.models import Client, ClientSecret, RefreshToken
from django_ciam_token.sessions.rows import READINGS_OF_A_LAGGING_NODE
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db

INVALID_GRANT = b'{"error": "invalid_grant"}'
OLD_KEY = "tests-only-" + "0123456789abcdef" * 3
NEW_KEY = "tests-only-" + "fedcba9876543210" * 3


@pytest.fixture
def session(first_tokens):
    return RefreshToken.objects.get()


def assert_refused(response):
    assert response.status_code == 400
    assert response.content == INVALID_GRANT
    assert response["Content-Type"] == "application/json;charset=UTF-8"


def assert_live(client, token, refresh):
    assert refresh(client, token).status_code == 200


def assert_reused(session, traces):
    session.refresh_from_db()
    assert session.revoked_at is not None
    assert session.revoked_reason == "reuse"
    assert any("'event': 'reuse_detected'" in line for line in traces.logged)


def assert_untouched(session):
    before = vars(session).copy()
    session.refresh_from_db()
    after = vars(session)
    assert {name: before[name] for name in before if not name.startswith("_")} == {
        name: after[name] for name in before if not name.startswith("_")
    }


def let_time_pass(seconds):
    """Age the session, as every stored instant sees it."""
    step = timedelta(seconds=seconds)
    RefreshToken.objects.update(
        issued_at=F("issued_at") - step, rotated_at=F("rotated_at") - step, expires_at=F("expires_at") - step
    )


def forge(session, *, generation, secret=None):
    """A token made by somebody who has SECRET_KEY, but not the token itself."""
    forged = refresh_token_string.GenuineToken(
        session_id=session.pk, generation=generation, secret=secret or refresh_token_string.new_secret()
    )
    return refresh_token_string.encode(forged, site_keys.token_keys()[0])


# --- rotation --------------------------------------------------------------------------------------


def test_a_session_is_refreshed_again_and_again_in_one_row(web_client, first_tokens, refresh):
    token, seen = first_tokens["refresh_token"], set()

    for generation in range(1, 11):
        body = refresh(web_client, token).json()
        token = body["refresh_token"]
        seen |= {token, body["access_token"], body["id_token"]}
        session = RefreshToken.objects.get()
        assert session.generation == generation

    assert len(seen) == 30


def test_a_refresh_takes_one_reading_and_one_writing_statement_and_inserts_nothing(
    web_client, first_tokens, refresh
):
    token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]

    with CaptureQueriesContext(connection) as queries:
        assert refresh(web_client, token).status_code == 200

    kinds = [query["sql"].split()[0] for query in queries]
    # In this test's own transaction a savepoint stands for BEGIN and COMMIT.
    assert kinds == ["SELECT", "SAVEPOINT", "UPDATE", "RELEASE"]


def test_for_a_token_that_was_never_issued_no_session_is_read(web_client, first_tokens, refresh):
    garbage = first_tokens["refresh_token"][:-1] + "~"

    with CaptureQueriesContext(connection) as queries:
        assert refresh(web_client, garbage).status_code == 400

    [select] = [query["sql"] for query in queries]
    assert RefreshToken._meta.db_table not in select


@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"])
def test_a_session_that_was_read_before_a_slow_password_hash_is_read_again(web_client, first_tokens, refresh):
    import_client_secret(web_client, make_password("brought-along"))
    web_client.plain_secret = "brought-along"
    with CaptureQueriesContext(connection) as queries:
        assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200

    readings = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert [RefreshToken._meta.db_table in reading for reading in readings] == [True, True]


def test_a_rotation_writes_no_indexed_column(web_client, first_tokens, refresh):
    with CaptureQueriesContext(connection) as queries:
        refresh(web_client, first_tokens["refresh_token"])

    [update] = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    written = update.partition(" SET ")[2].partition(" WHERE ")[0]
    fields = RefreshToken._meta.fields
    in_indexes = {name for index in RefreshToken._meta.indexes for name in index.fields}
    indexed = [
        field.column for field in fields if field.db_index or field.primary_key or field.name in in_indexes
    ]
    assert indexed == ["id", "client_id", "user_id"]
    assert not any(f"{quote}{column}{quote} =" in written for column in indexed for quote in ('"', "`"))


def test_a_rotation_stores_digests_and_circumstances_only(web_client, first_tokens, refresh):
    token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]

    session = RefreshToken.objects.get()

    genuine = refresh_token_string.authenticate(token, site_keys.token_keys())
    assert bytes(session.secret_digest) == refresh_token_string.digest(genuine.secret)
    assert genuine.secret not in [bytes(session.secret_digest), bytes(session.nonce)]
    assert session.last_address == "127.0.0.1"
    assert abs(session.rotated_at - timezone.now()) < timedelta(seconds=60)


def test_every_rotation_slides_the_idle_limit_but_not_the_end_of_the_session(
    web_client, first_tokens, refresh, session
):
    let_time_pass(3600)
    token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    session.refresh_from_db()
    assert timedelta(hours=23, minutes=59) < session.expires_at - timezone.now() <= timedelta(days=1)

    started = timezone.now() - timedelta(days=29, hours=12)
    RefreshToken.objects.update(issued_at=started)
    assert refresh(web_client, token).status_code == 200

    session.refresh_from_db()
    assert session.expires_at == started + timedelta(days=30)


def test_without_a_session_lifetime_only_the_idle_limit_counts(web_client, user, refresh, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SESSION_LIFETIME": None}
    token = issue_tokens(client=web_client, user=user)["refresh_token"]
    RefreshToken.objects.update(issued_at=timezone.now() - timedelta(days=3000))

    assert refresh(web_client, token).status_code == 200


def test_the_id_token_keeps_what_the_login_said(web_client, user, refresh):
    login = timezone.now() - timedelta(hours=2)
    first = issue_tokens(client=web_client, user=user, auth_time=login)

    second = refresh(web_client, first["refresh_token"]).json()

    before, after = (
        jwt.decode(body["id_token"], options={"verify_signature": False}) for body in (first, second)
    )
    for claim in ("sub", "aud", "azp", "auth_time", "sid", "iss"):
        assert before[claim] == after[claim]
    assert after["auth_time"] == int(login.timestamp())
    assert "nonce" not in after
    assert before["jti"] != after["jti"]


# --- scope -----------------------------------------------------------------------------------------


def test_narrowing_narrows_this_access_token_only(web_client, first_tokens, refresh):
    narrow = refresh(web_client, first_tokens["refresh_token"], scope="profile").json()

    assert narrow["scope"] == "profile"
    assert "id_token" not in narrow
    claims = jwt.decode(narrow["access_token"], options={"verify_signature": False})
    assert claims["scope"] == ["profile"]
    wide = refresh(web_client, narrow["refresh_token"]).json()
    assert wide["scope"] == "openid profile email"
    assert "id_token" in wide


def test_a_scope_taken_from_the_client_ends_the_sessions_that_have_it(web_client, first_tokens, refresh):
    Client.objects.update(scope="openid")

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))


# --- replay ----------------------------------------------------------------------------------------


def test_a_lost_answer_is_given_again(web_client, first_tokens, refresh, session, traces):
    lost = refresh(web_client, first_tokens["refresh_token"]).json()
    session.refresh_from_db()

    again = refresh(web_client, first_tokens["refresh_token"]).json()

    assert again["refresh_token"] == lost["refresh_token"]
    assert again["access_token"] != lost["access_token"]
    assert again["id_token"] != lost["id_token"]
    assert_untouched(session)
    assert any("'event': 'replayed'" in line for line in traces.logged)
    assert_live(web_client, again["refresh_token"], refresh)


def test_a_replay_reads_once_and_writes_nothing(web_client, first_tokens, refresh, django_assert_num_queries):
    refresh(web_client, first_tokens["refresh_token"])

    with django_assert_num_queries(1):
        assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200


def test_a_replay_may_ask_for_another_scope(web_client, first_tokens, refresh):
    refresh(web_client, first_tokens["refresh_token"])

    again = refresh(web_client, first_tokens["refresh_token"], scope="email").json()
    wrong = refresh(web_client, first_tokens["refresh_token"], scope="admin")

    assert again["scope"] == "email"
    assert wrong.json()["error"] == "invalid_scope"


def test_a_replay_just_within_the_grace_period(web_client, first_tokens, refresh):
    successor = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    let_time_pass(25)

    assert refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"] == successor


def test_a_replay_survives_a_change_of_the_secret_key(web_client, first_tokens, refresh):
    lost = refresh(web_client, first_tokens["refresh_token"]).json()

    with override_settings(SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=[OLD_KEY]):
        again = refresh(web_client, first_tokens["refresh_token"]).json()
        assert again["refresh_token"] == lost["refresh_token"]
        fresh = refresh(web_client, again["refresh_token"]).json()["refresh_token"]

    with override_settings(SECRET_KEY=NEW_KEY):
        assert_live(web_client, fresh, refresh)


# --- reuse -----------------------------------------------------------------------------------------


def test_reusing_a_token_whose_successor_was_used_ends_the_session(
    web_client, first_tokens, refresh, session, traces
):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    third = refresh(web_client, second).json()["refresh_token"]

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    assert_reused(session, traces)
    for token in (first_tokens["refresh_token"], second, third):
        assert_refused(refresh(web_client, token))


def test_reusing_a_predecessor_after_the_grace_period_ends_the_session(
    web_client, first_tokens, refresh, session, traces
):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    let_time_pass(31)

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    assert_reused(session, traces)
    assert_refused(refresh(web_client, second))


@pytest.mark.parametrize("where", ["site", "client"])
def test_without_a_grace_period_every_second_use_is_a_reuse(
    web_client, first_tokens, refresh, session, traces, settings, where
):
    if where == "site":
        settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "REFRESH_TOKEN_GRACE_PERIOD": 0}
    else:
        Client.objects.update(refresh_token_grace_period=timedelta(0))
    refresh(web_client, first_tokens["refresh_token"])

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    assert_reused(session, traces)


def test_reuse_ends_exactly_one_session(web_client, user, first_tokens, refresh):
    other = issue_tokens(client=web_client, user=user)["refresh_token"]
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, second)

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    assert_live(web_client, other, refresh)


@pytest.mark.django_db(transaction=True)
def test_reuse_is_signalled_once(web_client, first_tokens, refresh, session, traces, caplog):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, second)

    for _ in range(3):
        assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    [reuse] = traces.of(signals.reuse_detected)
    assert (reuse["session"].pk, reuse["client"]) == (session.pk, web_client)
    [record] = [record for record in caplog.records if getattr(record, "event", "") == "reuse_detected"]
    assert (record.levelname, record.session_id) == ("WARNING", str(session.pk))
    [revoked] = traces.of(signals.session_revoked)
    assert (revoked["session"].pk, revoked["reason"]) == (session.pk, "reuse")


@pytest.mark.django_db(transaction=True)
def test_reuse_ends_the_session_although_the_site_uses_atomic_requests(
    web_client, first_tokens, refresh, session, traces, monkeypatch
):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, second)

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    assert_reused(session, traces)


def test_a_reuse_is_noticed_even_while_a_scope_is_withdrawn(
    web_client, first_tokens, refresh, session, traces
):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, second)
    Client.objects.update(scope="openid")

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    assert_reused(session, traces)


@pytest.mark.parametrize(("ahead", "grace_period", "status"), [(5, 30, 200), (5, 0, 400), (60, 30, 400)])
def test_a_database_clock_that_was_set_back_does_not_lengthen_the_grace_period(
    web_client, first_tokens, refresh, settings, ahead, grace_period, status
):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "REFRESH_TOKEN_GRACE_PERIOD": grace_period}
    refresh(web_client, first_tokens["refresh_token"])
    RefreshToken.objects.update(rotated_at=F("rotated_at") + timedelta(seconds=ahead))

    assert refresh(web_client, first_tokens["refresh_token"]).status_code == status


# --- never issued ----------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [1, 2, 7, 2**32 - 1])
def test_a_forged_token_of_the_present_or_the_future_leaves_the_session_alone(
    web_client, first_tokens, refresh, session, traces, generation
):
    token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    session.refresh_from_db()

    assert_refused(refresh(web_client, forge(session, generation=generation)))

    assert_untouched(session)
    assert any("refresh_token_not_issued_here" in line for line in traces.logged)
    assert_live(web_client, token, refresh)


def test_a_forged_predecessor_gets_no_successor(web_client, first_tokens, refresh, session):
    refresh(web_client, first_tokens["refresh_token"])
    session.refresh_from_db()

    assert_refused(refresh(web_client, forge(session, generation=0)))

    assert_untouched(session)


@pytest.mark.parametrize("token", ["garbage", "ciam_rt1_" + "A" * 91, "eyJhbGciOiJub25lIn0.e30.", "é"])
def test_garbage_is_refused_before_the_session_is_read(
    web_client, session, refresh, token, django_assert_num_queries
):
    with django_assert_num_queries(1):  # Of the client.
        assert_refused(refresh(web_client, token))


def test_a_token_signed_with_a_secret_that_is_gone_is_refused(web_client, first_tokens, refresh):
    with override_settings(SECRET_KEY=NEW_KEY):
        assert_refused(refresh(web_client, first_tokens["refresh_token"]))


def test_a_genuine_token_of_a_session_that_is_gone_is_refused(web_client, first_tokens, refresh):
    RefreshToken.objects.all().delete()

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))


def test_a_session_that_is_gone_is_looked_for_three_times(web_client, first_tokens, refresh):
    """On a node of the database that lags behind it might appear."""
    RefreshToken.objects.all().delete()
    table = RefreshToken._meta.db_table

    with CaptureQueriesContext(connection) as queries:
        assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    readings = [query["sql"] for query in queries if table in query["sql"]]
    # Before these, once together with the client.
    assert len(readings) == 1 + READINGS_OF_A_LAGGING_NODE == 4


def test_a_session_out_of_generations_has_expired(web_client, first_tokens, refresh, session):
    last = refresh_token_string.LAST_GENERATION
    RefreshToken.objects.update(generation=last)
    genuine = refresh_token_string.authenticate(first_tokens["refresh_token"], site_keys.token_keys())

    assert_refused(refresh(web_client, forge(session, generation=last, secret=genuine.secret)))


@pytest.mark.parametrize("readings_behind", [1, 2])
def test_a_node_of_the_database_that_lags_behind_is_asked_again(
    web_client, first_tokens, refresh, monkeypatch, readings_behind
):
    from django_ciam_token.sessions import rows as module

    token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    original, readings = module._session, []

    def read(using, values):
        readings.append(1)
        reading = original(using, values)
        if len(readings) == 1 <= readings_behind:
            return None
        if len(readings) <= readings_behind:
            reading.session.generation = 0
        return reading

    monkeypatch.setattr(module, "_session", read)

    assert refresh(web_client, token).status_code == 200


# --- whose token, whose user -----------------------------------------------------------------------


def test_another_clients_token_is_refused_and_does_not_burn_the_session(
    web_client, first_tokens, refresh, session, traces
):
    thief = ClientFactory()
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    third = refresh(web_client, second).json()["refresh_token"]
    session.refresh_from_db()

    for token in (first_tokens["refresh_token"], second, third):
        assert_refused(refresh(thief, token))

    assert_untouched(session)
    assert any("wrong_client" in line for line in traces.logged)
    assert_live(web_client, third, refresh)


def test_a_disabled_user_can_not_refresh_and_can_again_when_enabled(
    web_client, first_tokens, refresh, session
):
    get_user_model().objects.update(is_active=False)
    assert_refused(refresh(web_client, first_tokens["refresh_token"]))
    assert_untouched(session)

    get_user_model().objects.update(is_active=True)
    assert_live(web_client, first_tokens["refresh_token"], refresh)


def test_a_deleted_user_takes_the_sessions_along(web_client, user, first_tokens, refresh):
    user.delete()

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))
    assert not RefreshToken.objects.exists()


def test_a_user_deleted_behind_djangos_back_does_not_make_the_session_a_machines(
    web_client, user, first_tokens, refresh, traces
):
    """As on MyISAM, where foreign keys are not enforced: the row names a user who does not exist."""
    from django_ciam_token.sessions.rows import read_client, read_session

    session = RefreshToken.objects.get()
    with connection.constraint_checks_disabled(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {user._meta.db_table} WHERE id = %s", [user.pk])  # noqa: S608
    alone = read_session(session.pk, using="default")
    along = read_client(web_client.client_id, using="default", session_id=session.pk).session

    for reading in (alone, along):
        assert reading.session.user_id == user.pk
        assert reading.session.user is None
    assert_refused(refresh(web_client, first_tokens["refresh_token"]))
    assert any("'reason': 'user_deleted'" in line for line in traces.logged)
    RefreshToken.objects.all().delete()


def test_a_user_model_that_knows_no_disabled_users_is_fine(web_client, user, refresh, monkeypatch):
    from django.contrib.auth.base_user import AbstractBaseUser

    from django_ciam_token.sessions.rows import read_session
    from django_ciam_token.sessions.verdict import Verdict, judge

    monkeypatch.delattr(AbstractBaseUser, "is_active")
    token = issue_tokens(client=web_client, user=user)["refresh_token"]
    reading = read_session(RefreshToken.objects.get().pk, using="default")
    monkeypatch.delattr(type(user), "is_active")
    del reading.session.user.__dict__["is_active"]
    genuine = refresh_token_string.authenticate(token, site_keys.token_keys())

    verdict = judge(reading, genuine, client=web_client, now=timezone.now())

    assert verdict is Verdict.ROTATE


def test_a_changed_password_ends_the_sessions(web_client, user, first_tokens, refresh):
    user.set_password("another")
    user.save()

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))


def test_a_changed_password_does_not_matter_if_the_site_says_so(
    web_client, user, first_tokens, refresh, settings
):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "END_SESSIONS_ON_PASSWORD_CHANGE": False}
    user.set_password("another")
    user.save()

    assert_live(web_client, first_tokens["refresh_token"], refresh)


@pytest.mark.parametrize("has_fallbacks", [True, False])
def test_no_earlier_secret_saves_a_session_whose_password_was_changed(
    web_client, user, first_tokens, refresh, monkeypatch, has_fallbacks
):
    user.set_password("another")
    user.save()
    if not has_fallbacks:  # As a user model of a site's own may be.
        monkeypatch.delattr("django.contrib.auth.base_user.AbstractBaseUser.get_session_auth_fallback_hash")

    with override_settings(SECRET_KEY_FALLBACKS=[NEW_KEY, OLD_KEY]):
        assert_refused(refresh(web_client, first_tokens["refresh_token"]))


def test_a_user_model_without_session_hashes_is_fine(web_client, refresh, monkeypatch):
    model = get_user_model()
    monkeypatch.setattr(model, "get_session_auth_hash", None)
    monkeypatch.delattr("django.contrib.auth.base_user.AbstractBaseUser.get_session_auth_fallback_hash")
    token = issue_tokens(client=web_client, user=UserFactory())["refresh_token"]

    assert_live(web_client, token, refresh)


def test_a_site_policy_can_refuse_a_refresh(web_client, first_tokens, refresh, settings, session):
    asked = []

    def policy(*, user, client, scope):
        asked.append((user, client, scope))
        return False

    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ISSUANCE_POLICY": policy}

    assert_refused(refresh(web_client, first_tokens["refresh_token"], scope="openid"))

    assert asked == [(session.user, web_client, ("openid",))]
    assert_untouched(session)


# --- ended -----------------------------------------------------------------------------------------


def test_a_revoked_session_stays_revoked_and_nothing_is_written(web_client, first_tokens, refresh, session):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    RefreshToken.objects.update(revoked_at=timezone.now(), revoked_reason="operator")
    session.refresh_from_db()

    for token in (first_tokens["refresh_token"], second):
        assert_refused(refresh(web_client, token))

    assert_untouched(session)


def test_an_idle_session_expires(web_client, first_tokens, refresh, session):
    let_time_pass(86_401)
    session.refresh_from_db()

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    assert_untouched(session)


def test_shortening_the_session_lifetime_takes_effect_at_once(web_client, first_tokens, refresh):
    let_time_pass(7200)
    Client.objects.update(session_lifetime=timedelta(hours=1))

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))


# --- a database that says "not now" ----------------------------------------------------------------


class Fault:
    """Fails the n-th statement that begins with a word, as a database would."""

    def __init__(self, word, *, times, table="refreshtoken"):
        self.word, self.times, self.table, self.failed = word, times, table, 0

    def __call__(self, execute, sql, params, many, context):
        if sql.startswith(self.word) and self.table in sql and self.failed < self.times:
            self.failed += 1
            raise OperationalError("deadlock detected")
        return execute(sql, params, many, context)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("word", "table"), [("SELECT", "client"), ("SELECT", "refreshtoken"), ("UPDATE", "refreshtoken")]
)
def test_a_passing_fault_is_not_noticed(web_client, first_tokens, refresh, session, word, table):
    fault = Fault(word, times=3, table=table)

    with connection.execute_wrapper(fault):
        response = refresh(web_client, first_tokens["refresh_token"])

    assert response.status_code == 200
    assert fault.failed == 3
    session.refresh_from_db()
    assert session.generation == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("word", "table"), [("SELECT", "client"), ("SELECT", "refreshtoken"), ("UPDATE", "refreshtoken")]
)
def test_a_lasting_fault_is_answered_503_and_loses_nothing(
    web_client, first_tokens, refresh, session, word, table
):
    with connection.execute_wrapper(Fault(word, times=99, table=table)):
        response = refresh(web_client, first_tokens["refresh_token"])

    assert response.status_code == 503
    assert response.json()["error"] == "temporarily_unavailable"
    assert response["Retry-After"] == "1"
    assert_untouched(session)
    assert_live(web_client, first_tokens["refresh_token"], refresh)


@pytest.mark.django_db(transaction=True)
def test_a_reuse_that_can_not_be_recorded_is_answered_503_until_it_can(
    web_client, first_tokens, refresh, session, traces
):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, second)

    with connection.execute_wrapper(Fault("UPDATE", times=99)):
        assert refresh(web_client, first_tokens["refresh_token"]).status_code == 503

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))
    assert_reused(session, traces)


@pytest.mark.django_db(transaction=True)
def test_a_commit_that_fails_is_repeated(web_client, first_tokens, refresh, session, monkeypatch):
    """As on a Galera cluster, where a conflict shows only then."""
    commit, failures = connection._commit, []

    def failing_commit():
        if not failures:
            failures.append(1)
            raise OperationalError(1213, "Deadlock found")
        commit()

    monkeypatch.setattr(connection, "_commit", failing_commit)

    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200

    session.refresh_from_db()
    assert session.generation == 1


@pytest.mark.django_db(transaction=True)
def test_a_session_that_ends_while_the_outcome_of_its_commit_is_found_out_gives_no_tokens(
    web_client, first_tokens, refresh, break_next_commit, monkeypatch
):
    broken = break_next_commit()

    def end(seconds):
        RefreshToken.objects.update(revoked_at=timezone.now(), revoked_reason="operator")

    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", end)

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))
    assert broken


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("grace_period", [0, 30])
def test_a_commit_whose_outcome_was_lost_is_recognised_as_ours(
    web_client, first_tokens, refresh, session, break_next_commit, settings, grace_period
):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "REFRESH_TOKEN_GRACE_PERIOD": grace_period}
    break_next_commit()

    response = refresh(web_client, first_tokens["refresh_token"])

    assert response.status_code == 200
    session.refresh_from_db()
    assert (session.generation, session.revoked_at) == (1, None)
    assert_live(web_client, response.json()["refresh_token"], refresh)


@pytest.mark.django_db(transaction=True)
def test_a_reuse_whose_commit_broke_is_still_reported_once(
    web_client, first_tokens, refresh, session, traces, break_next_commit
):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, second)
    break_next_commit()

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    assert_reused(session, traces)
    assert len(traces.of(signals.reuse_detected)) == len(traces.of(signals.session_revoked)) == 1


def test_a_session_that_ends_while_the_use_of_the_secret_is_noted_is_not_answered_again(
    web_client, first_tokens, refresh, monkeypatch
):
    refresh(web_client, first_tokens["refresh_token"])
    ClientSecret.objects.update(last_used_at=None)
    original = authentication._note_use

    def note(*arguments):
        has_waited = original(*arguments)
        RefreshToken.objects.update(revoked_at=timezone.now())
        return has_waited

    monkeypatch.setattr(authentication, "_note_use", note)

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))


@pytest.mark.django_db(transaction=True)
def test_a_revocation_that_comes_between_reading_and_writing_wins(
    web_client, first_tokens, refresh, session, monkeypatch
):
    from django_ciam_token.grants import rotating

    original = rotating.sign_tokens

    def sign_slowly(*args, **kwargs):
        RefreshToken.objects.update(revoked_at=timezone.now(), revoked_reason="user")
        return original(*args, **kwargs)

    monkeypatch.setattr(rotating, "sign_tokens", sign_slowly)

    assert_refused(refresh(web_client, first_tokens["refresh_token"]))

    session.refresh_from_db()
    assert (session.generation, session.revoked_reason) == (0, "user")


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_tokens_are_signed(web_client, first_tokens, refresh, monkeypatch):
    from django_ciam_token.grants import rotating

    original, in_transaction = rotating.sign_tokens, []

    def sign(*args, **kwargs):
        in_transaction.append(connection.in_atomic_block)
        return original(*args, **kwargs)

    monkeypatch.setattr(rotating, "sign_tokens", sign)

    refresh(web_client, first_tokens["refresh_token"])

    assert in_transaction == [False]


@pytest.mark.django_db(transaction=True)
def test_signals_are_sent_after_the_commit(web_client, first_tokens, refresh, session, traces):
    open_transactions = []

    def receive(sender, **arguments):
        open_transactions.append(connection.in_atomic_block)
        raise RuntimeError("a receiver of the site failed")

    signals.tokens_refreshed.connect(receive)
    try:
        response = refresh(web_client, first_tokens["refresh_token"])
    finally:
        signals.tokens_refreshed.disconnect(receive)

    assert response.status_code == 200
    assert open_transactions == [False]
    [refreshed] = traces.of(signals.tokens_refreshed)
    assert refreshed["session"].pk == session.pk
    assert refreshed["session"].generation == 1
    refresh(web_client, first_tokens["refresh_token"])
    [replayed] = traces.of(signals.tokens_replayed)
    assert replayed["client"] == web_client


@pytest.mark.django_db(transaction=True)
def test_within_a_transaction_of_the_caller_nothing_is_retried(web_client, first_tokens):
    from django_ciam_token.caller import Caller
    from django_ciam_token.errors import TemporarilyUnavailable
    from django_ciam_token.grants.refresh_token import refresh as refresh_grant

    fault = Fault("UPDATE", times=99)
    form = {"refresh_token": first_tokens["refresh_token"]}

    with pytest.raises(TemporarilyUnavailable), transaction.atomic(), connection.execute_wrapper(fault):
        refresh_grant(TokenRequest(client=web_client, parameters=form, caller=Caller(), now=timezone.now()))

    assert fault.failed == 1


def test_all_wrong_tokens_are_answered_alike(web_client, user, first_tokens, refresh, session):
    """Byte for byte and header for header, so that nothing can be learned."""
    gone = refresh_token_string.encode(
        refresh_token_string.GenuineToken(uuid.uuid4(), 0, refresh_token_string.new_secret()),
        site_keys.token_keys()[0],
    )
    answers = [
        refresh(web_client, token)
        for token in ("x", gone, forge(session, generation=0), forge(session, generation=9))
    ]
    answers.append(refresh(ClientFactory(), first_tokens["refresh_token"]))
    user.is_active = False
    user.save()
    answers.append(refresh(web_client, first_tokens["refresh_token"]))

    assert {answer.content for answer in answers} == {INVALID_GRANT}
    assert len({json.dumps(dict(answer.items())) for answer in answers}) == 1


def test_a_site_that_does_not_use_time_zones_is_served_as_well(web_client, user, refresh, settings):
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"
    first = issue_tokens(client=web_client, user=user)

    second = refresh(web_client, first["refresh_token"]).json()
    again = refresh(web_client, first["refresh_token"]).json()

    assert again["refresh_token"] == second["refresh_token"]
    claims = jwt.decode(again["id_token"], options={"verify_signature": False})
    assert abs(claims["iat"] - time.time()) < 60
    assert abs(claims["auth_time"] - time.time()) < 60
    let_time_pass(31)
    assert_refused(refresh(web_client, first["refresh_token"]))
