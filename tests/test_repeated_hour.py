"""A site with USE_TZ = False, in the night in which the clock shows the hour from 2 to 3 twice."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone

import pytest
import time_machine
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.caller import NOBODY
from django_ciam_token.clients.secrets import rotate_client_secret
from django_ciam_token.concealed import Concealed
from django_ciam_token.database.local_time import after, is_past, not_before, timestamp
from django_ciam_token.errors import InvalidToken
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import RefreshToken, RevokedAccessToken, SigningKey, SigningKeyState
from django_ciam_token.purging import purge
from django_ciam_token.tokens import access_tokens
from tests.conftest import post_form

pytestmark = pytest.mark.django_db

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# In Berlin summer time ends at 3 o'clock, 01:00 UTC, on 25 October 2026; it begins at 2 on 29 March.
FIRST_HALF_PAST_TWO = datetime(2026, 10, 25, 0, 30, tzinfo=datetime_timezone.utc)
TEN_PAST_TWO_AGAIN = FIRST_HALF_PAST_TWO + 40 * MINUTE
SPRING = datetime(2026, 3, 29, 1, tzinfo=datetime_timezone.utc)


@pytest.fixture(autouse=True)
def _berlin(settings):
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    before = FIRST_HALF_PAST_TWO.replace(tzinfo=None) - timedelta(days=30)
    SigningKey.objects.update(created_at=before, active_at=before)


@pytest.fixture
def at():
    """Let it be an instant, given in UTC."""
    travellers = []

    def at(instant):
        # Not the datetime: its zone would become that of the process.
        travellers.append(time_machine.travel(instant.timestamp(), tick=False))
        travellers[-1].start()
        key_set.forget()

    yield at
    for traveller in reversed(travellers):
        traveller.stop()


def signs():
    key_set.forget()
    return key_set.current().signing_pair(timezone.now()).kid


def published():
    key_set.forget()
    return {key["kid"] for key in key_set.current().jwk_set(timezone.now())["keys"]}


def test_a_compromised_key_stays_removed_in_the_repeated_hour(at):
    at(FIRST_HALF_PAST_TWO)
    new = signing_keys.rotate(algorithm="EdDSA", compromised=True)
    assert (signs(), published()) == (new.kid, {new.kid})

    at(TEN_PAST_TWO_AGAIN)

    assert (signs(), published()) == (new.kid, {new.kid})


@pytest.mark.parametrize("how", [{}, {"immediately": True}, {"compromised": True}])
def test_no_rotation_in_the_repeated_hour_publishes_a_compromised_key_again(at, how):
    compromised = SigningKey.objects.get().kid
    at(FIRST_HALF_PAST_TWO)
    signing_keys.rotate(algorithm="EdDSA", compromised=True)
    at(TEN_PAST_TWO_AGAIN)

    signing_keys.rotate(algorithm="EdDSA", **how)

    for minutes in (0, 10, 45, 90, 180):
        at(TEN_PAST_TWO_AGAIN + minutes * MINUTE)
        assert compromised not in published()


def test_a_key_that_has_retired_can_be_removed_in_the_repeated_hour(at):
    old = SigningKey.objects.get()
    at(FIRST_HALF_PAST_TWO)
    new = signing_keys.rotate(algorithm="EdDSA", immediately=True)
    at(TEN_PAST_TWO_AGAIN)
    assert (signs(), published()) == (new.kid, {old.kid, new.kid})

    assert signing_keys.remove_retired() == 1

    assert published() == {new.kid}


def test_migrate_makes_a_key_in_the_repeated_hour_if_all_have_retired(at):
    at(FIRST_HALF_PAST_TWO)
    SigningKey.objects.update(retired_at=timezone.now())
    at(TEN_PAST_TWO_AGAIN)

    assert signing_keys.ensure_first_key(using="default") is not None


@pytest.mark.parametrize(
    "start", [FIRST_HALF_PAST_TWO - 90 * MINUTE, FIRST_HALF_PAST_TWO, TEN_PAST_TWO_AGAIN]
)
def test_a_graceful_rotation_never_signs_too_early_nor_removes_too_early(at, start):
    old = SigningKey.objects.get()
    at(start)
    new = signing_keys.rotate(algorithm="EdDSA")
    lead, stays = HOUR, 36 * MINUTE

    signed_by = {}
    for minutes in range(0, 300, 5):
        at(start + minutes * MINUTE)
        signed_by[minutes] = signs()
        assert new.kid in published()
        assert old.kid in published() or minutes >= (lead + stays) / MINUTE
    switched = min(minutes for minutes, kid in signed_by.items() if kid == new.kid)
    assert 60 <= switched <= 120
    assert {kid for minutes, kid in signed_by.items() if minutes >= switched} == {new.kid}
    assert old.kid not in published()


def test_a_secret_that_has_ended_stays_ended_in_the_repeated_hour(at, web_client, user):
    token = issue_tokens(client=web_client, user=user)["refresh_token"]
    at(FIRST_HALF_PAST_TWO)
    rotate_client_secret(web_client, overlap=timedelta(0))

    at(TEN_PAST_TWO_AGAIN)

    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret, "token": token}
    assert post_form(form, url="/oauth2/introspect").status_code == 401


def test_of_two_secrets_the_one_that_works_is_kept_in_the_repeated_hour(at, web_client):
    at(FIRST_HALF_PAST_TWO)
    web_client.secrets.update(last_used_at=timezone.now())
    works = rotate_client_secret(web_client, overlap=timedelta(0))
    at(TEN_PAST_TWO_AGAIN)

    rotate_client_secret(web_client, overlap=timedelta(days=1))

    form = {"client_id": web_client.client_id, "client_secret": works, "token": "x"}
    assert post_form(form, url="/oauth2/introspect").json() == {"active": False}


def test_a_revoked_access_token_is_not_forgotten_before_it_has_expired(at, web_client, user, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_LIFETIME": 30 * MINUTE}
    at(FIRST_HALF_PAST_TWO + 20 * MINUTE)
    token = Concealed(issue_tokens(client=web_client, user=user)["access_token"])
    verified = access_tokens.verify(token, now=timezone.now())
    access_tokens.revoke(verified, client=web_client, caller=NOBODY)
    expires_at = datetime.fromtimestamp(verified.claims["exp"], datetime_timezone.utc)

    for minutes in range(40):
        at(FIRST_HALF_PAST_TWO + (20 + minutes) * MINUTE)
        purge()
        if datetime.now(datetime_timezone.utc) < expires_at:
            with pytest.raises(InvalidToken):
                access_tokens.require_live(verified)
    assert RevokedAccessToken.objects.exists()
    at(expires_at + 2 * HOUR)
    purge()
    assert not RevokedAccessToken.objects.exists()


@pytest.mark.parametrize("start", [FIRST_HALF_PAST_TWO, TEN_PAST_TWO_AGAIN, SPRING - 20 * MINUTE])
def test_a_session_lasts_as_long_as_it_should_and_an_hour_more_at_most(
    at, web_client, user, refresh, start, settings
):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "REFRESH_TOKEN_LIFETIME": 45 * MINUTE}
    SigningKey.objects.update(active_at=datetime(2026, 1, 1), created_at=datetime(2026, 1, 1))  # noqa: DTZ001
    at(start)
    issue_tokens(client=web_client, user=user)

    states = []
    for minutes in range(0, 180, 5):
        at(start + minutes * MINUTE)
        session = RefreshToken.objects.select_related("client").get()
        states.append(session.state(timezone.now()))

    lived = states.index("idle_expired") * 5
    assert 45 <= lived <= 105
    assert set(states[lived // 5 :]) == {"idle_expired"}


def test_an_expired_session_is_not_refreshed_in_the_repeated_hour(at, web_client, user, refresh, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "REFRESH_TOKEN_LIFETIME": 20 * MINUTE}
    at(FIRST_HALF_PAST_TWO)
    token = issue_tokens(client=web_client, user=user)["refresh_token"]
    at(TEN_PAST_TWO_AGAIN)

    assert refresh(web_client, token).status_code == 400


def test_a_time_that_is_stored_is_read_as_the_earlier_and_never_meant_as_the_later(at):
    wall = datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001
    first = FIRST_HALF_PAST_TWO.timestamp()

    for stored in (wall, wall.replace(fold=1)):
        assert timestamp(stored) == first
    for minutes, is_over in ((-1, False), (0, True), (20, True), (40, True), (61, True)):
        at(FIRST_HALF_PAST_TWO + minutes * MINUTE)
        assert is_past(wall, timezone.now()) is is_over
    at(FIRST_HALF_PAST_TWO)
    assert timestamp(after(timezone.now(), 10 * MINUTE)) == time.time() + 600
    assert timestamp(after(timezone.now(), 40 * MINUTE)) == time.time() + 100 * 60
    assert timestamp(after(timezone.now(), 100 * MINUTE)) == time.time() + 100 * 60
    assert not_before(wall.replace(fold=1)) == wall + HOUR
    at(SPRING - 20 * MINUTE)
    assert timestamp(after(timezone.now(), HOUR)) == time.time() + 3_600


def test_with_time_zones_an_instant_is_an_instant(settings):
    settings.USE_TZ = True
    now = timezone.now()

    assert after(now, HOUR) == now + HOUR
    assert not_before(now) is now
    assert (is_past(now, now), is_past(now + MINUTE, now)) == (True, False)
    assert timestamp(now) == now.timestamp()
    assert SigningKey(active_at=now, removed_at=now).state(now) is SigningKeyState.REMOVED
