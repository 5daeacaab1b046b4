from __future__ import annotations

import time
from types import SimpleNamespace

import jwt
import pytest
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from django.test import Client as Browser
from django.test import override_settings
from django.utils import timezone

from django_ciam_token.crypto import jose
from django_ciam_token.database import age
from django_ciam_token.errors import ServerError, TemporarilyUnavailable
from django_ciam_token.keys import binding, key_set
from django_ciam_token.keys.binding import Trust
from django_ciam_token.models import SigningKey
from tests.keys.conftest import LEAD, LINGER, MOMENT, logged, published, rotate, signs

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock by which copies age; tests set it by hand."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(age, "time", SimpleNamespace(monotonic=lambda: clock.now, time=time.time))
    return clock


def rotate_elsewhere(**how):
    """Rotate as another process would: this process keeps its copy."""
    kept = dict(key_set._key_sets)
    key = rotate(**how)
    key_set._key_sets.update(kept)
    return key


def fail_to_read(monkeypatch, error=OperationalError):
    def fail(*args, **kwargs):
        raise error("the database is unavailable")

    monkeypatch.setattr(key_set, "_read", fail)


def test_of_several_active_keys_the_one_that_became_active_last_signs():
    now = timezone.now()
    keys = [
        SigningKey(pk=5, kid="older", active_at=now - LEAD),
        SigningKey(pk=2, kid="latest", active_at=now),
        SigningKey(pk=3, kid="twin", active_at=now),
        SigningKey(pk=4, kid="pending", active_at=now + MOMENT),
    ]

    assert key_set.active_key(keys, now).kid == "twin"
    assert key_set.active_key(keys[:2], now).kid == "latest"
    assert key_set.active_key(reversed(keys[:2]), now).kid == "latest"
    assert key_set.active_key(keys[3:], now) is None
    assert key_set.active_key([], now) is None


def test_the_keys_are_read_once_and_stay_in_use(used_key, clock, django_assert_num_queries):
    with django_assert_num_queries(1):
        first = key_set.current()
    clock.now += 59.9

    with django_assert_num_queries(0):
        assert key_set.current() is first
        first.signing_pair(timezone.now())
        first.jwk_set(timezone.now())


@pytest.mark.parametrize(("site", "lifetime"), [({}, 60), ({"PROCESS_CACHE_LIFETIME": 5}, 5)])
def test_a_rotation_made_elsewhere_is_seen_within_the_cache_lifetime(clock, site, lifetime):
    with override_settings(CIAM_TOKEN=site):
        key_set.current()
        key = rotate_elsewhere(immediately=True)

        clock.now += lifetime - 0.1
        assert key.kid not in published(timezone.now())
        clock.now += 0.1

        assert published(timezone.now())[0] == key.kid
        assert signs(timezone.now()) == key.kid


def test_a_graceful_rotation_takes_effect_without_reading_again(used_key, django_assert_num_queries):
    now = timezone.now()
    key = rotate(now=now)
    key_set.forget()
    key_set.current()

    with django_assert_num_queries(0):
        assert signs(now + LEAD - MOMENT) == used_key.kid
        assert signs(now + LEAD) == key.kid


def test_removed_keys_are_not_read(first_key):
    key = rotate(compromised=True)
    key_set.forget()

    assert [read.pk for read in key_set.current().keys] == [key.pk]


def test_a_private_key_is_parsed_once_in_the_life_of_a_process(clock, monkeypatch):
    parsed = []
    parse = jose.parse_private_key
    monkeypatch.setattr(jose, "parse_private_key", lambda pem: parsed.append(1) or parse(pem))
    now = timezone.now()

    pairs = set()
    for _ in range(3):
        pairs.add(id(key_set.current().signing_pair(now)))
        pairs.add(id(key_set.current().signing_pair(now)))
        clock.now += 60

    assert (len(parsed), len(pairs)) == (1, 1)


def test_the_parsed_copy_of_a_removed_key_is_dropped(first_key, clock):
    now = timezone.now()
    key_set.current().signing_pair(now)
    key = rotate_elsewhere(compromised=True)
    clock.now += 60

    key_set.current().signing_pair(timezone.now())

    assert set(key_set.current().pairs) == {key.kid}


def test_what_a_key_has_verified_is_kept_over_a_reading_and_dropped_with_the_key(first_key, clock):
    now = timezone.now()
    verifying = key_set.current().verifying_key(first_key.kid, now)
    assert key_set.current().verifying_key(first_key.kid, now) is verifying
    clock.now += 61
    assert key_set.current().verifying_key(first_key.kid, now) is verifying

    SigningKey.objects.filter(pk=first_key.pk).update(removed_at=now)
    clock.now += 61

    assert key_set.current().verifying == {}
    with pytest.raises(jose.NotVerified):
        key_set.current().verifying_key(first_key.kid, now)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_while_the_database_is_unavailable_the_last_copy_stays_in_use(clock, monkeypatch, caplog, error):
    kid = signs(timezone.now())
    clock.now += 3600
    fail_to_read(monkeypatch, error)

    assert signs(timezone.now()) == kid
    answer = Browser().get("/oauth2/jwks")
    assert (answer.status_code, [key["kid"] for key in answer.json()["keys"]]) == (200, [kid])
    (record,) = logged(caplog, "signing_keys_stale")
    assert record.levelname == "WARNING"
    assert record.getMessage() == "The signing keys can't be read; keeping the last copy"


@pytest.mark.django_db(transaction=True)
def test_an_unavailable_database_is_queried_every_five_seconds(clock, monkeypatch):
    asked = []

    def fail(*args, **kwargs):
        asked.append(clock.now)
        raise OperationalError("the database is unavailable")

    key_set.current()
    clock.now += 3600
    with monkeypatch.context() as patch:
        patch.setattr(key_set, "_read", fail)
        for _ in range(11):
            key_set.current()
            clock.now += 1
    key = rotate_elsewhere(immediately=True)
    clock.now += 5

    assert [at - asked[0] for at in asked] == [0, 5, 10]
    assert signs(timezone.now()) == key.kid


def test_inside_a_transaction_a_failed_read_is_final(clock, monkeypatch):
    # The transaction is lost as well: if the request continued, its COMMIT would fail.
    key_set.current()
    clock.now += 60
    fail_to_read(monkeypatch)

    with pytest.raises(OperationalError):
        key_set.current()


def test_without_a_copy_a_failed_read_is_final(monkeypatch):
    fail_to_read(monkeypatch)

    with pytest.raises(TemporarilyUnavailable):
        key_set.current()
    answer = Browser(raise_request_exception=False).get("/oauth2/jwks")
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert answer.json()["error"] == "temporarily_unavailable"


def test_a_request_that_began_before_a_compromised_key_was_replaced_signs_with_the_new_one(used_key):
    began = timezone.now()
    key = rotate(compromised=True)

    assert began < key.active_at
    assert signs(began) == key.kid


def test_without_an_active_key_nothing_is_signed(caplog):
    SigningKey.objects.all().delete()
    rotate()
    key_set.forget()

    with pytest.raises(ServerError) as caught:
        signs(timezone.now())

    assert caught.value.reason == "no_signing_key"
    assert caught.value.members() == {"error": "server_error"}
    (record,) = logged(caplog, "no_signing_key")
    assert record.levelname == "ERROR"
    assert "manage.py rotate_signing_key --now" in record.getMessage()


@pytest.mark.parametrize("use", [signs, published, lambda now: key_set.current().algorithms(now)])
def test_with_a_key_that_no_secret_decrypts_nothing_is_signed_or_published(first_key, caplog, use):
    with override_settings(SECRET_KEY="n" * 50), pytest.raises(TemporarilyUnavailable) as caught:
        use(timezone.now())

    assert caught.value.reason == "signing_key_undecryptable"
    assert caught.value.__cause__ is None
    (record,) = logged(caplog, "signing_key_undecryptable")
    assert (record.levelname, record.kid) == ("ERROR", first_key.kid)
    assert "SECRET_KEY_FALLBACKS" in record.getMessage()


def test_a_key_survives_the_rotation_of_secret_key_while_the_old_one_is_listed(first_key):
    with override_settings(SECRET_KEY="n" * 50, SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert signs(timezone.now()) == first_key.kid
        assert binding.trust(first_key) is Trust.TRUSTED
    with override_settings(SECRET_KEY="n" * 50):
        assert binding.trust(first_key) is Trust.UNDECRYPTABLE


def test_secrets_that_change_while_a_copy_is_in_use_are_the_wrong_ones(first_key):
    keys = key_set.current()

    with override_settings(SECRET_KEY="n" * 50), pytest.raises(TemporarilyUnavailable):
        keys.signing_pair(timezone.now())


def test_what_the_active_key_signs_is_verified_with_the_jwk_set(first_key):
    token = jose.sign({"sub": "42"}, key=key_set.current().signing_pair(timezone.now()))

    keys = jwt.PyJWKSet.from_dict(key_set.current().jwk_set(timezone.now()))
    assert jwt.decode(token, keys[first_key.kid], algorithms=["RS256"]) == {"sub": "42"}


def test_the_jwk_set_keeps_the_order_of_members_that_the_database_lost(first_key):
    # jsonb sorts the members of an object by their length.
    jwk = {name: first_key.public_jwk[name] for name in sorted(first_key.public_jwk, key=len)}
    SigningKey.objects.update(public_jwk=jwk)

    (published_jwk,) = key_set.current().jwk_set(timezone.now())["keys"]

    assert list(published_jwk) == ["kty", "e", "kid", "n", "use", "alg"]


def test_the_algorithms_are_those_of_the_published_keys_with_the_active_one_first(first_key):
    now = timezone.now()
    rotate(now=now, algorithm="EdDSA")
    rotate(now=now, algorithm="ES256")
    key_set.forget()
    keys = key_set.current()

    assert keys.algorithms(now)[0] == "RS256"
    assert sorted(keys.algorithms(now)) == ["ES256", "EdDSA", "RS256"]
    assert keys.algorithms(now + LEAD) == ["ES256", "EdDSA", "RS256"]
    assert keys.algorithms(now + LEAD + LINGER) == ["ES256"]


def test_an_algorithm_is_listed_once(first_key):
    now = timezone.now()
    rotate(now=now, compromised=True)
    rotate(now=now)
    key_set.forget()

    assert key_set.current().algorithms(now) == ["EdDSA"]


def test_the_repr_of_the_keys_shows_no_private_key(first_key):
    keys = key_set.current()
    keys.signing_pair(timezone.now())

    assert repr(keys) == f"KeySet(keys=(<SigningKey: {first_key.kid}>,), read_at={keys.read_at!r})"


def test_no_key_of_one_tenant_signs_or_is_published_for_another(first_key, monkeypatch):
    monkeypatch.setattr(connections["default"], "schema_name", "blue", raising=False)
    assert signs(timezone.now()) == first_key.kid
    # What the other tenant's schema would show.
    key = rotate_elsewhere(compromised=True)
    assert signs(timezone.now()) == first_key.kid

    monkeypatch.setattr(connections["default"], "schema_name", "green", raising=False)

    assert (signs(timezone.now()), published(timezone.now())) == (key.kid, [key.kid])


def test_a_process_that_was_suspended_does_not_sign_with_a_key_that_is_gone(first_key, clock, monkeypatch):
    """The monotonic clock stood still meanwhile."""
    assert signs(timezone.now()) == first_key.kid
    key = rotate_elsewhere(compromised=True)

    monkeypatch.setattr(age.time, "time", lambda: time.time() + 3_600)

    assert signs(timezone.now()) == key.kid


def test_a_wall_clock_that_was_set_back_does_not_keep_a_copy_for_ever(first_key, clock, monkeypatch):
    assert signs(timezone.now()) == first_key.kid
    key = rotate_elsewhere(compromised=True)

    monkeypatch.setattr(age.time, "time", lambda: time.time() - 86_400)

    assert signs(timezone.now()) == key.kid
