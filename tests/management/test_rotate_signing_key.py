from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_ciam_token.models import SigningKey

pytestmark = pytest.mark.django_db


def test_rotate_signing_key_publishes_a_key_ahead(run_json):
    answer = run_json("rotate_signing_key", "--algorithm", "ES256")

    old, new = SigningKey.objects.order_by("pk")
    assert answer == {"kid": new.kid, "alg": "ES256", "active_at": new.active_at.isoformat()}
    assert old.retired_at == new.active_at > timezone.now() + timedelta(minutes=59)


def test_rotate_signing_key_says_from_when_on_it_signs(run):
    text = run("rotate_signing_key", "--algorithm", "EdDSA", "--now")

    new = SigningKey.objects.latest("pk")
    assert text == f"Made key {new.kid} (EdDSA). It signs from {new.active_at.isoformat()} on.\n"
    assert new.active_at <= timezone.now()


def test_rotate_signing_key_takes_compromised_keys_out_at_once(run):
    run("rotate_signing_key", "--algorithm", "ES256", "--compromised")

    old, new = SigningKey.objects.order_by("pk")
    assert old.removed_at == old.retired_at == new.active_at <= timezone.now()
