from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_ciam_token.models import Client, RefreshToken, SessionState
from django_ciam_token.sessions.listing import list_sessions
from django_ciam_token.sessions.state import Obstacle, state_of
from tests.operators import url

pytestmark = pytest.mark.django_db


@pytest.fixture
def session(first_tokens):
    return RefreshToken.objects.get()


def disable_client(session):
    Client.objects.update(is_active=False)


def switch_refresh_tokens_off(session):
    Client.objects.update(refresh_tokens_enabled=False)


def withdraw_scope(session):
    Client.objects.update(scope="profile")


def disable_user(session):
    session.user.is_active = False
    session.user.save()


def change_password(session):
    session.user.set_password("another one")
    session.user.save()


BLOCKED = {
    Obstacle.CLIENT_DISABLED: disable_client,
    Obstacle.REFRESH_TOKENS_DISABLED: switch_refresh_tokens_off,
    Obstacle.SCOPE_WITHDRAWN: withdraw_scope,
    Obstacle.USER_DISABLED: disable_user,
    Obstacle.PASSWORD_CHANGED: change_password,
}


def state_now():
    session = RefreshToken.objects.select_related("client", "user").get()
    return state_of(session, timezone.now())


@pytest.mark.parametrize(("obstacle", "block"), BLOCKED.items(), ids=[item.value for item in BLOCKED])
def test_a_session_is_blocked_exactly_if_its_refresh_is_refused(
    session, web_client, first_tokens, refresh, obstacle, block
):
    assert state_now() == (SessionState.LIVE, None)
    assert [listed.obstacle for listed in list_sessions()] == [None]

    block(session)

    assert state_now() == (SessionState.BLOCKED, obstacle)
    assert [listed.obstacle for listed in list_sessions()] == [obstacle]
    assert refresh(web_client, first_tokens["refresh_token"]).status_code in (400, 401)


def test_the_state_is_told_without_a_query(session, django_assert_num_queries):
    read = RefreshToken.objects.select_related("client", "user").get()

    with django_assert_num_queries(0):
        assert state_of(read, timezone.now()).state is SessionState.LIVE


def test_what_has_ended_is_not_called_blocked(session):
    disable_client(session)
    RefreshToken.objects.update(expires_at=timezone.now() - timedelta(days=1))

    assert state_now() == (SessionState.IDLE_EXPIRED, None)


def test_a_session_that_never_had_a_refresh_token_is_not_blocked_by_their_absence(session):
    switch_refresh_tokens_off(session)
    RefreshToken.objects.update(has_refresh_token=False)

    assert state_now() == (SessionState.LIVE, None)


@pytest.mark.parametrize(("obstacle", "block"), BLOCKED.items(), ids=[item.value for item in BLOCKED])
def test_every_page_says_that_it_is_blocked_and_why(operator, session, obstacle, block):
    block(session)

    words = f"blocked: {obstacle.label}"
    for address in (
        url("refreshtoken_changelist"),
        url("refreshtoken_change", session.pk),
        url("client_change", session.client_id),
        f"/admin/auth/user/{session.user_id}/change/",
    ):
        page = operator.get(address).content.decode()
        assert words in page, address
    assert (
        url("refreshtoken_end", session.pk)
        in operator.get(url("refreshtoken_change", session.pk)).content.decode()
    )
