from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from django_ciam_token.keys import signing_keys
from django_ciam_token.management.instants import written
from django_ciam_token.models import SigningKey
from tests.operators import refuse

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


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_young_key_is_not_rotated(run, options):
    key = SigningKey.objects.get()
    SigningKey.objects.update(active_at=timezone.now() - timedelta(days=89))

    text = run("rotate_signing_key", "--if-older-than", "90d", *options)

    assert SigningKey.objects.get() == key
    assert key.kid in text
    assert ("Nothing to do" in text) is not bool(options)


def test_an_old_key_is_rotated_once(run):
    SigningKey.objects.update(active_at=timezone.now() - timedelta(days=90))

    run("rotate_signing_key", "--if-older-than", "90d", "--algorithm", "ES256")
    new = SigningKey.objects.latest("pk")
    text = run("rotate_signing_key", "--if-older-than", "90d", "--algorithm", "ES256")

    # The new one is published and does not sign yet.
    assert SigningKey.objects.count() == 2
    assert f"Nothing to do: key {new.kid} signs from {written(new.active_at)} on." in text


def test_a_key_that_is_not_trusted_does_not_count_as_young(run):
    key = SigningKey.objects.get()
    SigningKey.objects.update(kid="inserted")

    run("rotate_signing_key", "--if-older-than", "90d", "--algorithm", "ES256")

    assert SigningKey.objects.exclude(pk=key.pk).exists()


def test_a_compromised_key_does_not_wait_for_its_age(run):
    with pytest.raises(CommandError, match="leave out --if-older-than"):
        run("rotate_signing_key", "--if-older-than", "90d", "--compromised")


def test_a_database_that_refuses_to_tell_the_age_changes_nothing(run, monkeypatch):
    monkeypatch.setattr(signing_keys, "key_younger_than", refuse)

    with pytest.raises(CommandError, match="nothing was changed"):
        run("rotate_signing_key", "--if-older-than", "90d")
