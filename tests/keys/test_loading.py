"""A site that moves its database by dumpdata, migrate and loaddata."""

from __future__ import annotations

import threading
from datetime import timedelta

import jwt
import pytest
from django.contrib.auth import get_user_model
from django.core import serializers
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.concealed import Concealed
from django_ciam_token.crypto import jose
from django_ciam_token.keys import key_set
from django_ciam_token.models import SigningKey, SigningKeyState
from django_ciam_token.tokens import access_tokens
from tests.keys.conftest import LINGER, logged, published, rotate, signs

DAY = timedelta(days=1)


@pytest.fixture
def fixture_file(tmp_path):
    return tmp_path / "dump.json"


@pytest.fixture
def load(fixture_file):
    """Load keys with the real loaddata, as their rows are now; they are deleted first."""

    def load(*keys):
        rows = list(SigningKey.objects.filter(pk__in=[key.pk for key in keys]))
        fixture_file.write_text(serializers.serialize("json", rows))
        for row in rows:
            row.delete()
        call_command("loaddata", str(fixture_file), verbosity=0)

    return load


def provisional_key():
    """The key that migrate made, and no other."""
    SigningKey.objects.all().delete()
    call_command("migrate", verbosity=0)
    key_set.forget()
    key = SigningKey.objects.get()
    assert key.is_provisional
    return key


def state(key):
    return SigningKey.objects.get(kid=key.kid).state(timezone.now())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_first_key_gone", [True, False], ids=["keys of its own", "same primary keys"])
def test_a_site_that_moves_signs_with_the_key_that_verifiers_know(
    web_client, user, refresh, fixture_file, is_first_key_gone, caplog
):
    rotate(now=timezone.now() - 30 * DAY, immediately=True)
    rotate(now=timezone.now() - DAY, immediately=True)
    if is_first_key_gone:
        # As purge_tokens does it: its primary key is free for the key that migrate makes.
        SigningKey.objects.order_by("pk").first().delete()
    key_set.forget()
    known, jwk_set = signs(timezone.now()), published(timezone.now())
    tokens = issue_tokens(client=web_client, user=user)
    models = ["django_ciam_token", get_user_model()._meta.label]
    call_command("dumpdata", *models, output=str(fixture_file), verbosity=0)

    get_user_model().objects.all().delete()
    call_command("migrate", "django_ciam_token", "zero", verbosity=0)
    call_command("migrate", verbosity=0)
    made = SigningKey.objects.get().kid
    call_command("loaddata", str(fixture_file), verbosity=0)

    key_set.forget()
    assert signs(timezone.now()) == known
    assert set(jwk_set) <= set(published(timezone.now()))
    answer = refresh(web_client, tokens["refresh_token"]).json()
    assert jwt.get_unverified_header(answer["access_token"])["kid"] == known
    for token in (tokens["access_token"], answer["access_token"]):
        access_tokens.verify(Concealed(token), now=timezone.now())
    if is_first_key_gone:
        assert SigningKey.objects.get(kid=made).state(timezone.now()) is SigningKeyState.RETIRED
        (record,) = logged(caplog, "provisional_signing_key_retired")
        assert record.kid == known


@pytest.mark.django_db
def test_what_retires_stays_published_for_a_process_that_is_about_to_sign_with_it(load):
    made = provisional_key()
    stale = key_set.current()
    loaded = rotate(now=timezone.now() - DAY, immediately=True)
    SigningKey.objects.filter(pk=made.pk).update(retired_at=None, removed_at=None)

    load(loaded)
    key_set.forget()
    token = jose.sign({"sub": "42"}, key=stale.signing_pair(timezone.now()))

    assert jwt.get_unverified_header(token)["kid"] == made.kid
    assert signs(timezone.now()) == loaded.kid
    assert set(published(timezone.now())) == {made.kid, loaded.kid}
    retired = SigningKey.objects.get(pk=made.pk)
    assert retired.removed_at - retired.retired_at == LINGER


@pytest.mark.django_db
def test_a_key_in_use_does_not_give_way_to_one_that_is_loaded(load):
    used = provisional_key()
    assert signs(timezone.now()) == used.kid
    other = rotate(now=timezone.now() - DAY, immediately=True)
    SigningKey.objects.filter(pk=used.pk).update(retired_at=None, removed_at=None)

    load(other)
    key_set.forget()

    assert (signs(timezone.now()), state(used), state(other)) == (used.kid, "active", "active")


@pytest.mark.django_db
def test_a_fixture_without_a_key_that_can_sign_replaces_none(load):
    made = provisional_key()
    retired = rotate(now=timezone.now() - DAY, immediately=True)
    pending, exchanged = rotate(), rotate(now=timezone.now() - DAY, immediately=True)
    SigningKey.objects.update(retired_at=None, removed_at=None)
    SigningKey.objects.filter(pk=retired.pk).update(retired_at=timezone.now())
    SigningKey.objects.filter(pk=exchanged.pk).update(encrypted_private_key=retired.encrypted_private_key)

    load(retired, pending, exchanged)

    assert signs(timezone.now()) == made.kid
    assert set(published(timezone.now())) == {made.kid, retired.kid, pending.kid}


@pytest.mark.django_db
def test_of_several_keys_in_a_fixture_none_gives_way_to_another(load):
    made = provisional_key()
    keys = [rotate(now=timezone.now() - days * DAY, immediately=True) for days in (3, 2, 1)]
    SigningKey.objects.update(is_provisional=True, retired_at=None, removed_at=None)

    load(*keys)

    assert [state(key) for key in (made, *keys)] == ["retired", "active", "active", "active"]
    assert not SigningKey.objects.filter(is_provisional=True).exists()
    assert signs(timezone.now()) == keys[-1].kid


@pytest.mark.django_db
def test_a_process_that_serves_while_keys_are_loaded_sees_them_at_once(
    load, django_capture_on_commit_callbacks
):
    made = provisional_key()
    other = rotate(now=timezone.now() - DAY, immediately=True)
    SigningKey.objects.filter(pk=made.pk).update(retired_at=None, removed_at=None)
    stale = key_set.current()

    with django_capture_on_commit_callbacks(execute=True):
        load(other)

    assert key_set.current() is not stale


@pytest.mark.django_db
def test_a_key_that_an_operator_made_is_not_provisional_and_saving_it_changes_nothing():
    made = provisional_key()
    key = rotate(immediately=True)
    SigningKey.objects.filter(pk=made.pk).update(retired_at=None, removed_at=None)

    key.save()

    assert not key.is_provisional
    assert SigningKey.objects.get(pk=made.pk).is_provisional


@pytest.mark.django_db
def test_the_first_signature_is_noted_once(django_assert_num_queries):
    made = provisional_key()
    key_set.current().jwk_set(timezone.now())
    assert SigningKey.objects.get().is_provisional

    signs(timezone.now())

    assert not SigningKey.objects.get().is_provisional
    key_set.forget()
    with django_assert_num_queries(1):
        assert signs(timezone.now()) == made.kid


@pytest.mark.django_db
def test_a_first_signature_that_a_site_rolled_back_is_noted_when_the_keys_are_read_again():
    provisional_key()
    with transaction.atomic():
        signs(timezone.now())
        transaction.set_rollback(True)
    assert SigningKey.objects.get().is_provisional

    key_set.forget()
    signs(timezone.now())

    assert not SigningKey.objects.get().is_provisional


@pytest.mark.django_db
def test_a_key_signs_though_its_first_use_cannot_be_noted(monkeypatch, caplog):
    made = provisional_key()

    def refuse(*args, **kwargs):
        raise OperationalError("read-only")

    monkeypatch.setattr(QuerySet, "update", refuse)

    assert [signs(timezone.now()) for _ in range(2)] == [made.kid] * 2
    (record,) = logged(caplog, "signing_key_use_not_noted")
    assert (
        record.getMessage() == f"The first use of signing key {made.kid} could not be noted: OperationalError"
    )
    assert record.kid == made.kid


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks the whole database, not rows")
def test_a_signature_does_not_wait_for_keys_that_are_being_loaded():
    made = provisional_key()
    is_locked, may_end = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            list(SigningKey.objects.select_for_update())
            is_locked.set()
            may_end.wait(10)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert is_locked.wait(10)
        assert signs(timezone.now()) == made.kid
        assert SigningKey.objects.get().is_provisional
    finally:
        may_end.set()
        thread.join()
