from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management.base import CommandError
from django.db import OperationalError
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.keys import signing_keys
from django_ciam_token.management.commands import rotate_signing_key
from django_ciam_token.management.instants import written
from django_ciam_token.models import RefreshToken, SigningKey
from tests.factories import UserFactory
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
    run("rotate_signing_key", "--algorithm", "ES256", "--compromised", "--no-input")

    old, new = SigningKey.objects.order_by("pk")
    assert old.removed_at == old.retired_at == new.active_at <= timezone.now()


@pytest.fixture
def tokens_of_two_sessions(web_client):
    """Of three: the last tokens of one have expired."""
    for _ in range(3):
        issue_tokens(client=web_client, user=UserFactory())
    long_ago = timezone.now() - timedelta(days=2)
    oldest = RefreshToken.objects.earliest("pk")
    RefreshToken.objects.filter(pk=oldest.pk).update(issued_at=long_ago, rotated_at=long_ago)


CONSEQUENCE = (
    "This removes 1 key from the JWK Set. The valid access tokens and id_tokens of 2 sessions are refused as "
    "soon as each process has read the keys again, within 60 seconds (restart them to skip that); the "
    "sessions go on, and get new ones with their next refresh."
)


@pytest.mark.usefixtures("tokens_of_two_sessions")
def test_rotate_signing_key_asks_before_it_removes_keys(run, errors, typed):
    typed("no\n")
    with pytest.raises(CommandError, match="Nothing was changed"):
        run("rotate_signing_key", "--compromised")
    assert errors.getvalue() == f"{CONSEQUENCE} Continue? Type yes: "
    assert SigningKey.objects.get().removed_at is None

    typed("yes\n")
    run("rotate_signing_key", "--algorithm", "ES256", "--compromised")
    assert SigningKey.objects.exclude(removed_at=None).count() == 1


@pytest.mark.usefixtures("tokens_of_two_sessions")
def test_a_dry_run_says_what_would_end_and_ends_nothing(run, run_json):
    options = ("rotate_signing_key", "--compromised", "--dry-run")

    assert run(*options) == f"{CONSEQUENCE}\n"
    assert run_json(*options) == {"keys": 1, "sessions": 2, "dry_run": True}
    assert SigningKey.objects.get().removed_at is None


def test_a_leaked_key_is_replaced_although_the_sessions_can_not_be_counted(run, errors, typed, monkeypatch):
    def time_out(now):
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr(rotate_signing_key, "_count_recent", time_out)
    typed("yes\n")

    run("rotate_signing_key", "--algorithm", "ES256", "--compromised")

    assert "of all sessions, which can't be counted now, are refused" in errors.getvalue()
    assert SigningKey.objects.exclude(removed_at=None).count() == 1


def test_a_key_that_is_planned_for_next_year_does_not_keep_an_old_one_signing(run):
    SigningKey.objects.update(active_at=timezone.now() - timedelta(days=100))
    run("rotate_signing_key", "--algorithm", "ES256", "--lead", "365d")

    run("rotate_signing_key", "--algorithm", "ES256", "--if-older-than", "90d")

    assert SigningKey.objects.count() == 3


def test_a_dry_run_of_what_ends_nothing_makes_no_sense(run):
    with pytest.raises(CommandError, match="--dry-run is for --compromised"):
        run("rotate_signing_key", "--dry-run")


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


def test_a_rotation_is_planned_by_how_long_the_key_is_published(run_json):
    answer = run_json("rotate_signing_key", "--lead", "14d")

    new = SigningKey.objects.get(kid=answer["kid"])
    assert new.active_at - new.created_at == timedelta(days=14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lead", "10m"], "SIGNING_KEY_LEAD"),
        (["--lead", "400d"], "at most a year"),
        (["--lead", "14d", "--compromised"], "leave out --lead"),
        (["--lead", "14d", "--now"], "not allowed with"),
    ],
)
def test_a_plan_that_verifiers_can_not_follow_is_refused(run, arguments, message):
    with pytest.raises(CommandError, match=message):
        run("rotate_signing_key", *arguments)
    assert SigningKey.objects.count() == 1
