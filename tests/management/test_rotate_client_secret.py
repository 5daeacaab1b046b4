from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.db import OperationalError
from django.db.models import QuerySet
from django.utils import timezone

from django_ciam_token.clients.secrets import secret_digest
from django_ciam_token.models import ClientSecret
from tests.management.conftest import client_is_accepted

pytestmark = pytest.mark.django_db


def test_rotate_client_secret_keeps_both_secrets_valid_during_the_overlap(run_json, web_client):
    answer = run_json("rotate_client_secret", web_client.client_id, "--overlap", "12h")

    assert list(answer) == ["client_id", "client_secret", "replaced_secret_expires_at"]
    assert client_is_accepted(web_client.client_id, answer["client_secret"])
    assert client_is_accepted(web_client.client_id, web_client.plain_secret)
    replaced = ClientSecret.objects.order_by("pk").first()
    assert replaced.expires_at.isoformat() == answer["replaced_secret_expires_at"]
    assert abs(replaced.expires_at - timezone.now() - timedelta(hours=12)) < timedelta(minutes=1)


def test_rotate_client_secret_without_overlap_ends_the_old_one_now(run_json, web_client):
    answer = run_json("rotate_client_secret", web_client.client_id, "--overlap", "0")

    assert list(answer) == ["client_id", "client_secret"]
    assert client_is_accepted(web_client.client_id, answer["client_secret"])
    assert not client_is_accepted(web_client.client_id, web_client.plain_secret)


def test_rotate_client_secret_says_until_when_the_old_one_works(run, web_client):
    text = run("rotate_client_secret", web_client.client_id)

    assert "can't be shown again" in text
    assert f"The secret that ends with {web_client.plain_secret[-4:]} works until " in text
    again = run("rotate_client_secret", web_client.client_id, "--overlap", "0")
    assert "works until" not in again
    assert again.count("no longer works") == 2


def test_rotate_client_secret_does_not_lock_out_a_public_client_by_accident(run, run_json, spa_client):
    with pytest.raises(CommandError, match="--make-confidential"):
        run("rotate_client_secret", spa_client.client_id)
    assert client_is_accepted(spa_client.client_id, None)

    answer = run_json("rotate_client_secret", spa_client.client_id, "--make-confidential")

    assert client_is_accepted(spa_client.client_id, answer["client_secret"])
    assert not client_is_accepted(spa_client.client_id, None)
    run("rotate_client_secret", spa_client.client_id)


def test_a_new_secret_is_shown_even_if_the_old_one_can_not_be_read(run_json, web_client, monkeypatch):
    def refuse(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(QuerySet, "values_list", refuse)

    answer = run_json("rotate_client_secret", web_client.client_id)

    assert secret_digest(answer["client_secret"]) == web_client.secrets.order_by("-pk")[0].secret_digest
    assert "replaced_secret_expires_at" not in answer
