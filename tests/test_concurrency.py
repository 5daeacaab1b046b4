"""Twenty requests with one token at the same moment, each on its own connection."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.models import Q
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.clients.secrets import rotate_client_secret
from django_ciam_token.keys import signing_keys
from django_ciam_token.models import Client, ClientSecret, RefreshToken, SigningKey
from tests.conftest import post_form

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 20
# The matrix asks for fifty, once on each database that has a server.
ROUNDS = int(os.environ.get("CIAM_ROUNDS") or 5)

Simultaneously = Callable[[Callable[[], Any]], list[Any]]


@pytest.fixture
def simultaneously() -> Iterator[Simultaneously]:
    """Call something in twenty threads at once. They keep their connections between the rounds."""
    barrier = threading.Barrier(THREADS, timeout=60)

    def meet(task: Callable[[], Any]) -> Any:
        barrier.wait()
        return task()

    with ThreadPoolExecutor(THREADS) as pool:
        yield lambda task: [future.result() for future in [pool.submit(meet, task) for _ in range(THREADS)]]
        for future in [pool.submit(meet, connections.close_all) for _ in range(THREADS)]:
            future.result()


def test_simultaneous_refreshes_all_get_the_same_successor(web_client, user, refresh, simultaneously):
    token = issue_tokens(client=web_client, user=user)["refresh_token"]

    for generation in range(1, ROUNDS + 1):
        answers = simultaneously(lambda token=token: refresh(web_client, token))

        assert [answer.status_code for answer in answers] == [200] * THREADS
        bodies = [answer.json() for answer in answers]
        assert len({body["access_token"] for body in bodies}) == THREADS
        [token] = {body["refresh_token"] for body in bodies}
        session = RefreshToken.objects.get()
        assert (session.generation, session.revoked_at) == (generation, None)


def test_without_a_grace_period_exactly_one_of_simultaneous_refreshes_succeeds(
    web_client, user, refresh, simultaneously
):
    Client.objects.update(refresh_token_grace_period=timedelta(0))

    for _ in range(ROUNDS):
        token = issue_tokens(client=web_client, user=user)["refresh_token"]

        answers = simultaneously(lambda token=token: refresh(web_client, token))

        assert sorted(answer.status_code for answer in answers) == [200] + [400] * (THREADS - 1)
        refused = {answer.content for answer in answers if answer.status_code == 400}
        assert refused == {b'{"error": "invalid_grant"}'}
        session = RefreshToken.objects.latest("pk")
        assert (session.generation, session.revoked_reason) == (1, "reuse")


def test_simultaneous_reuses_end_the_session_once(web_client, user, refresh, simultaneously, traces):
    first = issue_tokens(client=web_client, user=user)["refresh_token"]
    second = refresh(web_client, first).json()["refresh_token"]
    refresh(web_client, second)

    answers = simultaneously(lambda: refresh(web_client, first))

    assert {answer.status_code for answer in answers} == {400}
    assert sum("'event': 'reuse_detected'" in line for line in traces.logged) == 1


def test_simultaneous_secret_rotations_leave_two_live_secrets(web_client, simultaneously):
    secrets = simultaneously(lambda: rotate_client_secret(web_client))

    assert len(set(secrets)) == THREADS
    unlimited = Q(expires_at=None)
    assert ClientSecret.objects.filter(unlimited, client=web_client).count() == 1
    live = ClientSecret.objects.filter(unlimited | Q(expires_at__gt=timezone.now()), client=web_client)
    assert live.count() == 2


def test_simultaneous_key_rotations_leave_one_key_to_sign_with(simultaneously):
    simultaneously(lambda: signing_keys.rotate(algorithm="ES256"))

    assert SigningKey.objects.filter(retired_at=None).count() == 1


def test_a_revocation_that_races_refreshes_never_leaves_a_usable_token(
    web_client, user, refresh, simultaneously
):
    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}

    for _ in range(2 * ROUNDS):
        token = issue_tokens(client=web_client, user=user)["refresh_token"]
        turn = itertools.count()

        def revoke_or_refresh(token=token, turn=turn):
            if next(turn) == THREADS // 2:
                return post_form({**form, "token": token}, url="/oauth2/revoke")
            return refresh(web_client, token)

        answers = simultaneously(revoke_or_refresh)

        assert {answer.status_code for answer in answers} <= {200, 400}
        given = {answer.json().get("refresh_token") for answer in answers if answer.status_code == 200}
        for left in {token, *given} - {None}:
            assert refresh(web_client, left).json() == {"error": "invalid_grant"}
        assert RefreshToken.objects.latest("pk").revoked_reason == "client"
