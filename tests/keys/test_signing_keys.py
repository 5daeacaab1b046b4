from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import SigningKey, SigningKeyState
from tests.factories import ClientFactory
from tests.keys.conftest import LEAD, LINGER, MARGIN, MOMENT, logged, published, rotate, signs

pytestmark = pytest.mark.django_db

PUBLISHED, ACTIVE, RETIRED, REMOVED = SigningKeyState


def states(now):
    """The state of every key at an instant, oldest first."""
    return [key.state(now) for key in SigningKey.objects.order_by("pk")]


def test_a_graceful_rotation_publishes_the_key_before_it_signs_and_the_old_one_after(first_key):
    now = timezone.now()

    new_key = rotate(now=now)

    active_at, removed_at = now + LEAD, now + LEAD + LINGER
    assert states(now) == [ACTIVE, PUBLISHED]
    assert states(active_at - MOMENT) == [ACTIVE, PUBLISHED]
    assert states(active_at) == [RETIRED, ACTIVE]
    assert states(removed_at - MOMENT) == [RETIRED, ACTIVE]
    assert states(removed_at) == [REMOVED, ACTIVE]
    key_set.forget()
    both = [new_key.kid, first_key.kid]
    assert (signs(now), published(now)) == (first_key.kid, both)
    assert (signs(active_at - MOMENT), published(active_at - MOMENT)) == (first_key.kid, both)
    assert (signs(active_at), published(active_at)) == (new_key.kid, both)
    assert published(removed_at - MOMENT) == both
    assert published(removed_at) == [new_key.kid]


def test_a_rotation_is_stored_as_it_is_returned(first_key):
    now = timezone.now()

    key = rotate(now=now, algorithm="ES256")

    row = SigningKey.objects.get(pk=key.pk)
    assert (row.kid, row.algorithm) == (key.kid, "ES256")
    assert (row.created_at, row.active_at, row.retired_at, row.removed_at) == (now, now + LEAD, None, None)
    assert row.public_jwk["kid"] == row.kid
    assert not {"d", "p", "q"} & set(row.public_jwk)
    assert "PRIVATE" not in row.encrypted_private_key
    first_key.refresh_from_db()
    assert (first_key.retired_at, first_key.removed_at) == (now + LEAD, now + LEAD + LINGER)


def test_a_rotation_uses_the_current_time_and_the_algorithm_of_the_site_by_default():
    before = timezone.now()
    with override_settings(CIAM_TOKEN={"SIGNING_ALGORITHM": "ES256", "SIGNING_KEY_LEAD": 7200}):
        key = signing_keys.rotate()

    assert key.algorithm == "ES256"
    assert before <= key.created_at <= timezone.now()
    assert key.active_at - key.created_at == timedelta(hours=2)


@pytest.mark.parametrize("field", ["access_token_lifetime", "id_token_lifetime"])
def test_an_old_key_stays_published_for_the_longest_token_of_any_client(first_key, field):
    ClientFactory(**{field: timedelta(days=1)})
    ClientFactory(**{field: timedelta(minutes=1)})
    now = timezone.now()

    rotate(now=now, immediately=True)

    first_key.refresh_from_db()
    assert first_key.removed_at == now + timedelta(days=1) + MARGIN


@pytest.mark.parametrize("setting", ["ACCESS_TOKEN_LIFETIME", "ID_TOKEN_LIFETIME"])
def test_an_old_key_stays_published_for_the_longest_token_of_the_site(first_key, setting):
    ClientFactory(access_token_lifetime=timedelta(minutes=1), id_token_lifetime=timedelta(minutes=1))
    now = timezone.now()

    with override_settings(CIAM_TOKEN={setting: timedelta(hours=6)}):
        rotate(now=now, immediately=True)

    first_key.refresh_from_db()
    assert first_key.removed_at == now + timedelta(hours=6) + MARGIN


def test_an_immediate_rotation_signs_at_once_and_keeps_the_old_key_published(first_key):
    now = timezone.now()

    new_key = rotate(now=now, immediately=True)

    assert states(now) == [RETIRED, ACTIVE]
    key_set.forget()
    assert signs(now) == new_key.kid
    assert published(now) == [new_key.kid, first_key.kid]
    assert published(now + LINGER) == [new_key.kid]


def test_after_a_compromise_all_older_keys_are_removed_at_once(first_key):
    now = timezone.now()
    rotate(now=now - timedelta(minutes=20), immediately=True)
    rotate(now=now - timedelta(minutes=10))
    assert states(now) == [RETIRED, ACTIVE, PUBLISHED]

    new_key = rotate(now=now, compromised=True)

    assert states(now) == [REMOVED, REMOVED, REMOVED, ACTIVE]
    key_set.forget()
    assert (signs(now), published(now)) == (new_key.kid, [new_key.kid])


def test_a_compromise_does_not_change_when_earlier_keys_were_removed(first_key):
    now = timezone.now()
    gone_at = now - timedelta(days=1)
    SigningKey.objects.update(retired_at=gone_at, removed_at=gone_at)

    rotate(now=now, compromised=True)

    first_key.refresh_from_db()
    assert (first_key.retired_at, first_key.removed_at) == (gone_at, gone_at)


def test_a_graceful_rotation_does_not_change_keys_that_have_retired_already(first_key):
    now = timezone.now()
    rotate(now=now, immediately=True)
    first_key.refresh_from_db()

    rotate(now=now + timedelta(minutes=1))

    again = SigningKey.objects.get(pk=first_key.pk)
    assert (again.retired_at, again.removed_at) == (first_key.retired_at, first_key.removed_at)


def test_a_graceful_rotation_lets_a_pending_key_sign_until_its_own_turn():
    now = timezone.now()
    rotate(now=now)

    rotate(now=now + timedelta(minutes=10))

    assert states(now + timedelta(minutes=10)) == [ACTIVE, PUBLISHED, PUBLISHED]
    assert states(now + timedelta(minutes=60)) == [RETIRED, ACTIVE, PUBLISHED]
    assert states(now + timedelta(minutes=70)) == [RETIRED, RETIRED, ACTIVE]
    assert states(now + timedelta(minutes=60) + LINGER) == [REMOVED, RETIRED, ACTIVE]
    assert states(now + timedelta(minutes=70) + LINGER) == [REMOVED, REMOVED, ACTIVE]


def test_an_immediate_rotation_replaces_a_pending_key():
    now = timezone.now()
    rotate(now=now)

    new_key = rotate(now=now + timedelta(minutes=10), immediately=True)

    key_set.forget()
    for minutes in (10, 60, 90):
        assert signs(now + timedelta(minutes=minutes)) == new_key.kid
    assert states(now + timedelta(minutes=40)) == [RETIRED, RETIRED, ACTIVE]


@pytest.mark.parametrize("algorithm", ["HS256", "none"])
def test_a_key_of_an_unknown_algorithm_is_not_made(first_key, algorithm):
    with pytest.raises(ValueError, match=algorithm):
        rotate(algorithm=algorithm)

    assert states(timezone.now()) == [ACTIVE]


def test_a_database_that_refuses_changes_nothing(first_key, monkeypatch, traces, caplog):
    def fail(*args, **kwargs):
        raise OperationalError("disk full")

    monkeypatch.setattr(SigningKey, "save", fail)

    with pytest.raises(TemporarilyUnavailable):
        rotate(compromised=True)

    key = SigningKey.objects.get()
    assert (key.pk, key.retired_at, key.removed_at) == (first_key.pk, None, None)
    assert traces.of(signals.signing_key_rotated) == []
    assert logged(caplog, "signing_key_rotated") == []


@pytest.mark.django_db(transaction=True)
def test_a_rotation_is_carried_out_once_when_its_commit_breaks(first_key, break_next_commit):
    now = timezone.now()
    broken = break_next_commit()

    key = rotate(now=now)

    assert broken
    assert states(now) == [ACTIVE, PUBLISHED]
    assert SigningKey.objects.get(kid=key.kid).retired_at is None


@pytest.mark.django_db(transaction=True)
def test_removing_retired_keys_is_counted_once_though_the_commit_is_uncertain(first_key, break_next_commit):
    rotate(immediately=True)
    broken = break_next_commit()

    assert signing_keys.remove_retired() == 1

    assert broken
    assert states(timezone.now()) == [REMOVED, ACTIVE]


def test_removing_them_twice_at_the_same_instant_counts_them_once(first_key):
    rotate(immediately=True)
    now = timezone.now()

    assert [signing_keys.remove_retired(now=now) for _ in range(2)] == [1, 0]


def test_a_rotation_is_logged_and_signalled(traces, caplog, django_capture_on_commit_callbacks):
    now = timezone.now()

    with django_capture_on_commit_callbacks(execute=True):
        key = rotate(now=now)

    (record,) = logged(caplog, "signing_key_rotated")
    assert record.getMessage() == (
        f"Signing key {key.kid} (EdDSA) made, active at {(now + LEAD).isoformat()}"
    )
    assert record.kid == key.kid
    arguments = {"kid": key.kid, "algorithm": "EdDSA", "active_at": now + LEAD, "actor": "", "caller": NOBODY}
    assert traces.of(signals.signing_key_rotated) == [{"sender": SigningKey, **arguments}]


def test_the_process_that_rotates_knows_the_new_key_once_it_is_committed(django_capture_on_commit_callbacks):
    now = timezone.now()
    assert len(published(now)) == 1

    with django_capture_on_commit_callbacks(execute=True):
        key = rotate(now=now)
        assert len(published(now)) == 1

    assert key.kid in published(now)


def test_the_first_key_signs_at_once():
    SigningKey.objects.all().delete()
    key_set.current()

    with override_settings(CIAM_TOKEN={"SIGNING_ALGORITHM": "EdDSA"}):
        key = signing_keys.ensure_first_key(using="default")

    assert key.algorithm == "EdDSA"
    assert key.created_at == key.active_at
    assert (key.retired_at, key.removed_at) == (None, None)
    # The copy without this key was dropped.
    assert signs(timezone.now()) == key.kid


def test_there_is_only_one_first_key(first_key):
    assert signing_keys.ensure_first_key(using="default") is None
    assert SigningKey.objects.get() == first_key


def test_a_first_key_is_made_if_every_key_is_retired(first_key):
    now = timezone.now()
    SigningKey.objects.update(retired_at=now - MOMENT, removed_at=now + LINGER)

    key = signing_keys.ensure_first_key(using="default")

    assert set(SigningKey.objects.all()) == {first_key, key}


def test_no_first_key_is_made_if_a_key_is_only_about_to_retire(first_key):
    SigningKey.objects.update(retired_at=timezone.now() + LEAD)

    assert signing_keys.ensure_first_key(using="default") is None


def test_no_first_key_is_made_in_a_database_to_which_no_keys_are_written():
    SigningKey.objects.all().delete()

    assert signing_keys.ensure_first_key(using="replica") is None
    assert not SigningKey.objects.exists()


def test_no_first_key_is_made_before_its_table_exists():
    # The state after `migrate django_ciam_token zero`.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SigningKey._meta, "db_table", "not_there_yet")

        assert signing_keys.ensure_first_key(using="default") is None


@pytest.mark.django_db(transaction=True)
def test_migrating_backwards_makes_no_key_and_forwards_finds_the_one_there_is():
    signing_keys.rotate(algorithm="ES256")
    before = set(SigningKey.objects.values_list("kid", flat=True))

    call_command("migrate", "django_ciam_token", "0006", verbosity=0)
    call_command("migrate", "django_ciam_token", verbosity=0)

    assert set(SigningKey.objects.values_list("kid", flat=True)) == before
