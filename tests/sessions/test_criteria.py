from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import RevocationReason, SigningKey
from django_ciam_token.sessions.criteria import SessionCriteria, select_sessions
from django_ciam_token.sessions.listing import list_sessions
from tests.factories import UserFactory, make_session

pytestmark = pytest.mark.django_db(transaction=True)

USER = RevocationReason.USER
OPERATOR = RevocationReason.OPERATOR
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def test_what_is_revoked_or_expired_is_not_live(web_client, user):
    now = timezone.now()
    live = make_session(web_client, user)
    make_session(web_client, user, revoked_at=now)
    make_session(web_client, user, expires_at=now)

    assert list(select_sessions(SessionCriteria())) == [live]


def test_every_criterion_narrows_and_all_must_be_met(web_client, spa_client, user):
    now = timezone.now()
    other = UserFactory()
    old = {"issued_at": now - 5 * HOUR}
    mine = make_session(web_client, user)
    mine_old = make_session(web_client, user, **old)
    mine_old_but_busy = make_session(web_client, user, **old, rotated_at=now)
    mine_old_and_idle = make_session(web_client, user, **old, rotated_at=now - 4 * HOUR)
    mine_on_spa = make_session(spa_client, user, **old)
    others = make_session(web_client, other, **old)
    ago = now - 2 * HOUR

    for criteria, expected in [
        ({}, {mine, mine_old, mine_old_but_busy, mine_old_and_idle, mine_on_spa, others}),
        ({"user": other}, {others}),
        ({"client": spa_client}, {mine_on_spa}),
        ({"session_id": mine.pk}, {mine}),
        ({"session_id": uuid.uuid4()}, set()),
        ({"user": user, "except_session": mine.pk, "client": web_client},
         {mine_old, mine_old_but_busy, mine_old_and_idle}),
        ({"issued_before": ago}, {mine_old, mine_old_but_busy, mine_old_and_idle, mine_on_spa, others}),
        ({"issued_before": mine.issued_at, "user": user, "client": web_client},
         {mine_old, mine_old_but_busy, mine_old_and_idle}),
        ({"idle_since": ago}, {mine_old, mine_old_and_idle, mine_on_spa, others}),
        ({"idle_since": now - 4 * HOUR - timedelta(seconds=1)}, {mine_old, mine_on_spa, others}),
        ({"user": user, "client": web_client}, {mine, mine_old, mine_old_but_busy, mine_old_and_idle}),
        ({"user": user, "client": web_client, "idle_since": ago}, {mine_old, mine_old_and_idle}),
        ({"user": user, "session_id": others.pk}, set()),
        ({"user": user, "issued_before": ago, "idle_since": ago, "client": spa_client}, {mine_on_spa}),
    ]:  # fmt: skip
        assert set(select_sessions(SessionCriteria(**criteria))) == expected, criteria


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_idleness_is_judged_by_the_databases_clock_whatever_the_sites_zone(
    web_client, user, refresh, settings, zone
):
    settings.USE_TZ = False
    settings.TIME_ZONE = zone
    # The key of the tests was made when the site still used time zones.
    SigningKey.objects.update(active_at=timezone.now() - timedelta(days=1))
    token = issue_tokens(client=web_client, user=user)["refresh_token"]
    refresh(web_client, token)

    now = timezone.now()
    assert not select_sessions(SessionCriteria(idle_since=now - HOUR)).exists()
    assert select_sessions(SessionCriteria(idle_since=now + HOUR)).exists()
    [session] = list_sessions(user=user)
    assert abs(session.last_refreshed_at - now) < timedelta(minutes=1)
