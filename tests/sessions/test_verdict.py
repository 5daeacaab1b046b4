"""Every case of a genuine token, without a database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_ciam_token.crypto import refresh_token_string, site_keys
from django_ciam_token.crypto.refresh_token_string import GenuineToken
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.sessions.rows import SessionReading
from django_ciam_token.sessions.verdict import Allowance, Tolerance, Verdict, judge

NOW = timezone.now()
SECOND = timedelta(seconds=1)
GRACE = 30 * SECOND
CLIENT = Client(pk=1, client_id="portal", application_type="m2m", refresh_token_grace_period=GRACE)
STRICT = Client(pk=1, client_id="portal", application_type="m2m", refresh_token_grace_period=timedelta(0))
WAS_CURRENT = Allowance(was_current=True)


def rotated_twice(age=SECOND):
    """Return a session so long after its second rotation, and its three tokens, the oldest first."""
    session = RefreshToken(client=CLIENT, scope="openid", issued_at=NOW, expires_at=NOW + timedelta(days=1))
    tokens = [GenuineToken(session_id=session.pk, generation=0, secret=refresh_token_string.new_secret())]
    for _ in range(2):
        session.nonce = refresh_token_string.new_nonce()
        key = site_keys.token_keys()[0]
        tokens.append(refresh_token_string.successor(tokens[-1], nonce=session.nonce, key=key))
    session.generation = 2
    session.secret_digest = refresh_token_string.digest(tokens[-1].secret)
    return tokens, SessionReading(session=session, since_rotation=age)


def verdict_on(place, *, age=SECOND, client=CLIENT, **allowance):
    tokens, reading = rotated_twice(age)
    return judge(reading, tokens[place], client=client, now=NOW, allowance=Allowance(**allowance))


def refusal_of(place, **options):
    with pytest.raises(InvalidGrant) as caught:
        verdict_on(place, **options)
    return caught.value.reason


CURRENT, PREDECESSOR, OLDER = -1, -2, -3


def test_the_current_token_is_rotated_whatever_its_age():
    assert verdict_on(CURRENT) is Verdict.ROTATE
    assert verdict_on(CURRENT, age=timedelta(days=9)) is Verdict.ROTATE


@pytest.mark.parametrize("age", [0 * SECOND, GRACE - SECOND, -SECOND])
def test_the_predecessor_within_the_grace_period_is_replayed(age):
    assert verdict_on(PREDECESSOR, age=age) is Verdict.REPLAY


@pytest.mark.parametrize("age", [GRACE, timedelta(days=9), -GRACE, None])
def test_the_predecessor_after_the_grace_period_is_a_reuse(age):
    assert verdict_on(PREDECESSOR, age=age) is Verdict.REUSE


@pytest.mark.parametrize("age", [0 * SECOND, timedelta(days=9)])
def test_an_older_token_is_a_reuse_at_any_time(age):
    assert verdict_on(OLDER, age=age) is Verdict.REUSE


def test_a_predecessor_that_was_current_when_it_was_read_is_replayed_at_any_time():
    assert verdict_on(PREDECESSOR, age=timedelta(hours=1), was_current=True) is Verdict.REPLAY
    assert verdict_on(PREDECESSOR, age=None, was_current=True) is Verdict.REPLAY


def test_an_older_token_that_was_current_when_it_was_read_is_refused_and_nothing_ends():
    assert refusal_of(OLDER, age=timedelta(hours=1), was_current=True) == "overtaken"


def test_a_code_that_lost_a_race_is_refused_and_nothing_ends():
    """A code is not replayed unless the site says so, and with PKCE its rules are not strict."""
    tokens, reading = rotated_twice(timedelta(hours=1))
    tolerance = Tolerance(replayed=timedelta(0), is_strict=False)

    with pytest.raises(InvalidGrant) as caught:
        judge(
            reading, tokens[PREDECESSOR], client=CLIENT, now=NOW, tolerance=tolerance, allowance=WAS_CURRENT
        )

    assert caught.value.reason == "overtaken"


@pytest.mark.parametrize("which", ["queued", "outage"])
def test_time_that_is_not_the_clients_makes_the_grace_period_longer(which):
    allowed = {which: 20 * SECOND}

    assert verdict_on(PREDECESSOR, age=GRACE + 19 * SECOND, **allowed) is Verdict.REPLAY
    assert verdict_on(PREDECESSOR, age=GRACE + 20 * SECOND, **allowed) is Verdict.REUSE


def test_an_older_token_that_was_queued_while_the_session_went_further_ends_nothing():
    assert refusal_of(OLDER, age=9 * SECOND, queued=10 * SECOND) == "overtaken"
    assert verdict_on(OLDER, age=10 * SECOND, queued=10 * SECOND) is Verdict.REUSE


def test_an_outage_excuses_no_older_token():
    assert verdict_on(OLDER, age=SECOND, outage=60 * SECOND) is Verdict.REUSE


@pytest.mark.parametrize("place", [PREDECESSOR, OLDER])
def test_strict_one_time_use_allows_nothing(place):
    allowance = {"was_current": True, "queued": 60 * SECOND, "outage": 60 * SECOND}

    assert verdict_on(place, age=0 * SECOND, client=STRICT, **allowance) is Verdict.REUSE


def test_a_revoked_session_is_refused_whatever_is_allowed():
    tokens, reading = rotated_twice()
    reading.session.revoked_at = NOW

    for token in tokens:
        with pytest.raises(InvalidGrant) as caught:
            judge(reading, token, client=CLIENT, now=NOW, allowance=WAS_CURRENT)
        assert caught.value.reason == "revoked"
