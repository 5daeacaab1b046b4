from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.api import rotate_client_secret
from django_ciam_token.clients.secret_retirement import OnlySecret, live_secrets, retire_client_secret
from django_ciam_token.models import ClientSecret, EventType, SecurityEvent
from tests.management.conftest import client_is_accepted

pytestmark = pytest.mark.django_db


@pytest.fixture
def two(web_client):
    """The secrets of a client with two: old and new."""
    new = rotate_client_secret(web_client, overlap=timedelta(days=7))
    return web_client.plain_secret, new


@pytest.mark.parametrize("number", [0, 1])
def test_the_chosen_secret_is_refused_and_the_other_accepted(web_client, two, number):
    newest_first = live_secrets(web_client)
    chosen = newest_first[1 - number]

    assert retire_client_secret(web_client, chosen.pk) == chosen

    assert not client_is_accepted(web_client.client_id, two[number])
    assert client_is_accepted(web_client.client_id, two[1 - number])


def test_the_only_secret_is_not_retired(web_client):
    [only] = live_secrets(web_client)

    with pytest.raises(OnlySecret):
        retire_client_secret(web_client, only.pk)

    assert client_is_accepted(web_client.client_id, web_client.plain_secret)


def test_a_secret_that_has_ended_or_is_another_clients_is_left_alone(web_client, two, machine):
    rotate_client_secret(machine)
    ended = live_secrets(web_client)[1]
    retire_client_secret(web_client, ended.pk)
    end = ClientSecret.objects.get(pk=ended.pk).expires_at

    assert retire_client_secret(web_client, ended.pk) is None
    assert retire_client_secret(web_client, live_secrets(machine)[0].pk) is None

    assert ClientSecret.objects.get(pk=ended.pk).expires_at == end
    assert len(live_secrets(machine)) == 2


@pytest.mark.django_db(transaction=True)
def test_it_is_signalled_and_audited_once_though_the_commit_is_uncertain(
    web_client, two, traces, break_next_commit
):
    chosen = live_secrets(web_client)[0]
    failures = break_next_commit()

    assert retire_client_secret(web_client, chosen.pk, actor="ada") == chosen

    assert failures == [1]
    [sent] = traces.of(signals.client_secret_retired)
    assert (sent["client"], sent["last_four"], sent["actor"]) == (web_client, chosen.last_four, "ada")
    event = SecurityEvent.objects.get(event=EventType.SECRET_RETIRED)
    assert (event.client_id, event.actor) == (web_client.client_id, "ada")
    assert event.reason == f"…{chosen.last_four}"


@pytest.mark.django_db(transaction=True)
def test_two_operators_at_once_leave_one_secret(web_client, two):
    outcomes, start = [], threading.Barrier(2)

    def retire(pk):
        start.wait()
        try:
            outcomes.append(retire_client_secret(web_client, pk))
        except OnlySecret:
            outcomes.append("only")
        finally:
            connection.close()

    threads = [threading.Thread(target=retire, args=(secret.pk,)) for secret in live_secrets(web_client)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(live_secrets(web_client, now=timezone.now())) == 1
    assert outcomes.count("only") == 1
