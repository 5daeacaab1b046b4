"""One code, fired twenty times at once, each time on a connection of its own."""

from __future__ import annotations

import pytest
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY
from django_ciam_token.models import RefreshToken
from django_ciam_token.tokens.authorization_codes import issue_code
from tests.conftest import post_form
from tests.factories import ClientFactory
from tests.test_concurrency import ROUNDS, THREADS, simultaneously

__all__ = ["simultaneously"]

pytestmark = pytest.mark.django_db(transaction=True)

REDIRECT_URI = "https://app.example.com/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.fixture
def client(db):
    return ClientFactory(redirect_uris=REDIRECT_URI)


@pytest.fixture
def fire(client, user, simultaneously):
    def fire(*, pkce=True):
        code = issue_code(
            client=client,
            user=user,
            scope=("openid",),
            auth_time=timezone.now(),
            redirect_uri=REDIRECT_URI,
            code_challenge=CHALLENGE if pkce else None,
            nonce="n",
            caller=NOBODY,
            now=timezone.now(),
        ).reveal()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "client_id": client.client_id,
            "client_secret": client.plain_secret,
            **({"code_verifier": VERIFIER} if pkce else {}),
        }
        return simultaneously(lambda: post_form(form))

    return fire


def statuses(answers):
    return sorted(answer.status_code for answer in answers)


def test_one_exchange_wins_and_its_session_lives_on(client, user, fire, refresh, traces):
    for number in range(1, ROUNDS + 1):
        answers = fire()

        assert statuses(answers) == [200] + [400] * (THREADS - 1)
        [won] = [answer.json() for answer in answers if answer.status_code == 200]
        refused = {answer.content for answer in answers if answer.status_code == 400}
        assert refused == {b'{"error": "invalid_grant"}'}
        assert RefreshToken.objects.count() == number
        assert refresh(client, won["refresh_token"]).status_code == 200
    assert len(traces.of(signals.tokens_issued)) == ROUNDS


def test_with_the_setting_all_get_the_same_refresh_token(client, user, fire, refresh, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUTHORIZATION_CODE_GRACE_PERIOD": 30}
    for number in range(1, ROUNDS + 1):
        answers = fire()

        assert statuses(answers) == [200] * THREADS
        [token] = {answer.json()["refresh_token"] for answer in answers}
        assert RefreshToken.objects.count() == number
        assert refresh(client, token).status_code == 200


def test_without_pkce_at_most_one_wins_and_a_reuse_is_reported_once(client, user, fire, traces):
    for number in range(1, ROUNDS + 1):
        answers = fire(pkce=False)

        assert statuses(answers) == [200] + [400] * (THREADS - 1)
        assert RefreshToken.objects.count() == number
    assert (
        len(traces.of(signals.reuse_detected)) == RefreshToken.objects.filter(revoked_reason="reuse").count()
    )
