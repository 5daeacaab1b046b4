"""Rotations and revocations whose COMMIT succeeded, but the connection broke before that was confirmed."""

from __future__ import annotations

import pytest
from django.utils import timezone

from django_ciam_token.clients import secrets
from django_ciam_token.keys import signing_keys
from django_ciam_token.models import ClientSecret, RevokedAccessToken, SecurityEvent, SigningKey
from tests.conftest import post_form

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)


def test_a_client_secret_is_rotated_once_and_the_current_one_keeps_its_overlap(web_client, break_next_commit):
    break_next_commit()

    secret = secrets.rotate_client_secret(web_client)

    old, new = ClientSecret.objects.order_by("pk")
    assert old.expires_at > timezone.now()
    assert (new.last_four, new.expires_at) == (secret[-4:], None)


def test_the_revocation_of_an_access_token_is_recorded_once(web_client, first_tokens, break_next_commit):
    form = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}
    break_next_commit()

    response = post_form({**form, "token": first_tokens["access_token"]}, url="/oauth2/revoke")

    assert response.status_code == 200
    assert RevokedAccessToken.objects.count() == 1
    assert SecurityEvent.objects.filter(event="revoked").count() == 1


def test_a_signing_key_is_made_once(break_next_commit):
    break_next_commit()

    key = signing_keys.rotate(algorithm="ES256")

    old, new = SigningKey.objects.order_by("pk")
    assert new.kid == key.kid
    assert old.retired_at == new.active_at
