from __future__ import annotations

import time
from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import RefreshToken, RevocationReason
from django_ciam_token.sessions.listing import list_sessions
from tests.factories import UserFactory, make_session, make_sessions

pytestmark = pytest.mark.django_db(transaction=True)

USER = RevocationReason.USER
OPERATOR = RevocationReason.OPERATOR
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def test_a_lifetime_that_was_shortened_counts_at_once(web_client, user):
    now = timezone.now()
    over = make_session(web_client, user, issued_at=now - 3 * HOUR)
    going = make_session(web_client, user, issued_at=now - 1.5 * HOUR)
    assert {session.session_id for session in list_sessions()} == {over.pk, going.pk}

    web_client.session_lifetime = 2 * HOUR
    web_client.save()

    [listed] = list_sessions()
    assert listed.session_id == going.pk
    assert listed.expires_at == going.issued_at + 2 * HOUR


def test_older_sessions_are_listed_though_the_newest_are_over(web_client, spa_client, user):
    live = sorted(make_session(spa_client, user).pk for _ in range(3))
    time.sleep(0.002)
    make_sessions(10, web_client, user, issued_at=timezone.now() - 3 * HOUR)
    web_client.session_lifetime = 2 * HOUR
    web_client.save()

    assert [session.session_id for session in list_sessions(limit=2)] == [live[2], live[1]]
    assert [session.session_id for session in list_sessions()] == live[::-1]


def test_each_session_is_listed_once_though_some_in_between_are_over(
    web_client, spa_client, user, django_assert_num_queries
):
    live, over = [], timezone.now() - 3 * HOUR
    for is_live in (True, *[False] * 5, True, False, True, True):
        session = (
            make_session(spa_client, user) if is_live else make_session(web_client, user, issued_at=over)
        )
        live = [session.pk, *live] if is_live else live
        time.sleep(0.002)
    web_client.session_lifetime = 2 * HOUR
    web_client.save()

    # The second reading goes on behind the fourth session, and takes many more rows than the first.
    with django_assert_num_queries(2):
        listed = list_sessions(limit=4)
    assert [session.session_id for session in listed] == live
    # None is needed if what was read first is enough.
    with django_assert_num_queries(1):
        assert len(list_sessions(limit=2)) == 2


def test_a_session_is_listed_with_all_that_tells_it_from_others(web_client, user, refresh):
    issued = issue_tokens(client=web_client, user=user, scope="openid email")
    refresh(web_client, issued["refresh_token"])
    row = RefreshToken.objects.get()

    [session] = list_sessions(user=user)

    assert (session.session_id, session.user) == (row.pk, user.username)
    assert (session.client_id, session.client_name) == (web_client.client_id, web_client.name)
    assert session.scope == ("openid", "email")
    assert session.started_at == row.issued_at
    assert abs(session.last_refreshed_at - row.rotated_at) < timedelta(seconds=5)
    assert session.expires_at == row.expires_at
    assert (session.address, session.user_agent) == ("127.0.0.1", "")
    with pytest.raises(FrozenInstanceError):
        session.user = "mallory"


def test_sessions_are_listed_newest_first_in_one_query(
    web_client, spa_client, machine, user, django_assert_num_queries
):
    sessions = []
    for client, whose in [
        (web_client, user),
        (spa_client, UserFactory()),
        (machine, None),
        (web_client, user),
    ]:
        sessions.append(make_session(client, whose))
        time.sleep(0.002)
    make_session(web_client, user, revoked_at=timezone.now())
    newest_first = [session.pk for session in reversed(sessions)]

    with django_assert_num_queries(1):
        listed = list_sessions()

    assert [session.session_id for session in listed] == newest_first
    assert listed[1].user is None
    assert [session.session_id for session in list_sessions(limit=2)] == newest_first[:2]
    assert [session.session_id for session in list_sessions(client=spa_client)] == [sessions[1].pk]
    assert len(list_sessions(user=user, client=web_client)) == 2
    assert list_sessions(user=user, client=spa_client) == []
