from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_ciam_token.management.instants import written
from django_ciam_token.models import SigningKey

pytestmark = pytest.mark.django_db


def test_rotate_signing_key_publishes_a_key_before_it_signs(run_json):
    answer = run_json("rotate_signing_key", "--algorithm", "ES256")

    old, new = SigningKey.objects.order_by("pk")
    assert answer == {"kid": new.kid, "alg": "ES256", "active_at": new.active_at.isoformat()}
    assert old.retired_at == new.active_at > timezone.now() + timedelta(minutes=59)


def test_rotate_signing_key_says_when_the_key_starts_to_sign(run):
    text = run("rotate_signing_key", "--algorithm", "EdDSA", "--now")

    new = SigningKey.objects.latest("pk")
    assert text == f"Made key {new.kid} (EdDSA). It signs from {written(new.active_at)} on.\n"
    assert new.active_at <= timezone.now()


def test_rotate_signing_key_removes_compromised_keys_at_once(run):
    run("rotate_signing_key", "--algorithm", "ES256", "--compromised")

    old, new = SigningKey.objects.order_by("pk")
    assert old.removed_at == old.retired_at == new.active_at <= timezone.now()
