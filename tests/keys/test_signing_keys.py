from __future__ import annotations

import time
from datetime import timedelta
from types import SimpleNamespace

import jwt
import pytest
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, connections
from django.test import Client as Browser
from django.test import override_settings
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY
from django_ciam_token.crypto import jose
from django_ciam_token.database import age
from django_ciam_token.errors import ServerError, TemporarilyUnavailable
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import SigningKey, SigningKeyState
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db

LEAD = timedelta(hours=1)
# A process that has not read the new key yet signs with the old one; and clocks go wrong.
MARGIN = timedelta(minutes=1) + timedelta(minutes=5)
# After the longest-lived token of a site with the default settings.
LINGER = timedelta(minutes=30) + MARGIN
MOMENT = timedelta(microseconds=1)
PUBLISHED, ACTIVE, RETIRED, REMOVED = SigningKeyState


@pytest.fixture
def first_key():
    """The key that migrate made."""
    return SigningKey.objects.get()


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock by which copies age, to be moved by hand."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(age, "time", SimpleNamespace(monotonic=lambda: clock.now, time=time.time))
    return clock


def rotate(**how):
    return signing_keys.rotate(**{"algorithm": "EdDSA", **how})


def rotate_elsewhere(**how):
    """Rotate as another process would: this one's copy is not dropped."""
    kept = dict(key_set._key_sets)
    key = rotate(**how)
    key_set._key_sets.update(kept)
    return key


def states(now):
    """The state of every key at an instant, oldest first."""
    return [key.state(now) for key in SigningKey.objects.order_by("pk")]


def published(now):
    return [jwk["kid"] for jwk in key_set.current().jwk_set(now)["keys"]]


def signs(now):
    return key_set.current().signing_pair(now).kid


def logged(caplog, event):
    return [record for record in caplog.records if getattr(record, "event", None) == event]


def fail_to_read(monkeypatch, error=OperationalError):
    def fail(*args, **kwargs):
        raise error("the database is away")

    monkeypatch.setattr(key_set, "_read", fail)


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


def test_a_rotation_is_made_now_and_with_the_algorithm_of_the_site_unless_said_otherwise():
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


def test_after_a_compromise_all_older_keys_are_gone_at_once(first_key):
    now = timezone.now()
    rotate(now=now - timedelta(minutes=20), immediately=True)
    rotate(now=now - timedelta(minutes=10))
    assert states(now) == [RETIRED, ACTIVE, PUBLISHED]

    new_key = rotate(now=now, compromised=True)

    assert states(now) == [REMOVED, REMOVED, REMOVED, ACTIVE]
    key_set.forget()
    assert (signs(now), published(now)) == (new_key.kid, [new_key.kid])


def test_a_compromise_does_not_move_the_end_of_keys_that_are_gone_already(first_key):
    now = timezone.now()
    gone_at = now - timedelta(days=1)
    SigningKey.objects.update(retired_at=gone_at, removed_at=gone_at)

    rotate(now=now, compromised=True)

    first_key.refresh_from_db()
    assert (first_key.retired_at, first_key.removed_at) == (gone_at, gone_at)


def test_a_key_that_retired_before_is_left_alone_by_a_graceful_rotation(first_key):
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


def test_an_immediate_rotation_takes_the_turn_of_a_pending_key():
    now = timezone.now()
    rotate(now=now)

    new_key = rotate(now=now + timedelta(minutes=10), immediately=True)

    key_set.forget()
    for minutes in (10, 60, 90):
        assert signs(now + timedelta(minutes=minutes)) == new_key.kid
    assert states(now + timedelta(minutes=40)) == [RETIRED, RETIRED, ACTIVE]


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
def test_a_rotation_whose_commit_broke_is_carried_out_once(first_key, monkeypatch):
    now = timezone.now()
    commit, broken = connection._commit, []

    def uncertain_commit():
        commit()
        if not broken:
            broken.append(1)
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "_commit", uncertain_commit)

    key = rotate(now=now)

    assert broken
    assert states(now) == [ACTIVE, PUBLISHED]
    assert SigningKey.objects.get(kid=key.kid).retired_at is None


def test_a_rotation_is_logged_and_signalled(traces, caplog, django_capture_on_commit_callbacks):
    now = timezone.now()

    with django_capture_on_commit_callbacks(execute=True):
        key = rotate(now=now)

    (record,) = logged(caplog, "signing_key_rotated")
    assert record.getMessage() == (
        f"Signing key {key.kid} (EdDSA) made, active at {(now + LEAD).isoformat()}"
    )
    assert record.kid == key.kid
    told = {"kid": key.kid, "algorithm": "EdDSA", "active_at": now + LEAD, "actor": "", "caller": NOBODY}
    assert traces.of(signals.signing_key_rotated) == [{"sender": SigningKey, **told}]


def test_the_process_that_rotates_knows_the_new_key_once_it_is_committed(django_capture_on_commit_callbacks):
    now = timezone.now()
    assert len(published(now)) == 1

    with django_capture_on_commit_callbacks(execute=True):
        key = rotate(now=now)
        assert len(published(now)) == 1

    assert key.kid in published(now)


def test_the_keys_are_read_once_and_then_used_on(clock, django_assert_num_queries):
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


def test_a_graceful_rotation_takes_effect_without_reading_again(first_key, django_assert_num_queries):
    now = timezone.now()
    key = rotate(now=now)
    key_set.forget()
    key_set.current()

    with django_assert_num_queries(0):
        assert signs(now + LEAD - MOMENT) == first_key.kid
        assert signs(now + LEAD) == key.kid


def test_removed_keys_are_not_even_read(first_key):
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


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_while_the_database_is_away_the_copy_is_used_on(clock, monkeypatch, caplog, error):
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
def test_while_the_database_is_away_it_is_asked_every_five_seconds(clock, monkeypatch):
    asked = []

    def fail(*args, **kwargs):
        asked.append(clock.now)
        raise OperationalError("the database is away")

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
    # The transaction is lost with it: going on would end in a COMMIT that fails.
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


def test_a_key_that_no_secret_decrypts_signs_nothing_and_stays_published(first_key, caplog):
    with override_settings(SECRET_KEY="n" * 50):
        with pytest.raises(ServerError) as caught:
            signs(timezone.now())

        assert published(timezone.now()) == [first_key.kid]
    assert caught.value.reason == "signing_key_undecryptable"
    assert caught.value.__cause__ is None
    (record,) = logged(caplog, "signing_key_undecryptable")
    assert (record.levelname, record.kid) == ("ERROR", first_key.kid)
    assert "SECRET_KEY_FALLBACKS" in record.getMessage()


def test_a_key_survives_the_rotation_of_secret_key_while_the_old_one_is_listed(first_key):
    with override_settings(SECRET_KEY="n" * 50, SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert signs(timezone.now()) == first_key.kid
        assert key_set.is_decryptable(first_key)
    with override_settings(SECRET_KEY="n" * 50):
        assert not key_set.is_decryptable(first_key)


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


def test_the_algorithms_are_those_of_the_published_keys_the_active_ones_first(first_key):
    now = timezone.now()
    rotate(now=now, algorithm="EdDSA")
    rotate(now=now, algorithm="ES256")
    key_set.forget()
    keys = key_set.current()

    assert keys.algorithms(now)[0] == "RS256"
    assert sorted(keys.algorithms(now)) == ["ES256", "EdDSA", "RS256"]
    assert keys.algorithms(now + LEAD) == ["ES256", "EdDSA", "RS256"]
    assert keys.algorithms(now + LEAD + LINGER) == ["ES256"]


def test_an_algorithm_is_named_once(first_key):
    now = timezone.now()
    SigningKey.objects.update(algorithm="EdDSA")
    rotate(now=now)
    key_set.forget()

    assert key_set.current().algorithms(now) == ["EdDSA"]


def test_the_repr_of_the_keys_shows_no_private_key(first_key):
    keys = key_set.current()
    keys.signing_pair(timezone.now())

    assert repr(keys) == f"KeySet(keys=(<SigningKey: {first_key.kid}>,), read_at={keys.read_at!r})"


def test_the_first_key_signs_at_once():
    SigningKey.objects.all().delete()
    key_set.current()

    with override_settings(CIAM_TOKEN={"SIGNING_ALGORITHM": "EdDSA"}):
        key = signing_keys.ensure_first_key(using="default")

    assert key.algorithm == "EdDSA"
    assert key.created_at == key.active_at
    assert (key.retired_at, key.removed_at) == (None, None)
    # The copy without it was dropped.
    assert signs(timezone.now()) == key.kid


def test_there_is_only_one_first_key(first_key):
    assert signing_keys.ensure_first_key(using="default") is None
    assert SigningKey.objects.get() == first_key


def test_where_every_key_is_retired_a_first_key_is_made(first_key):
    now = timezone.now()
    SigningKey.objects.update(retired_at=now - MOMENT, removed_at=now + LINGER)

    key = signing_keys.ensure_first_key(using="default")

    assert set(SigningKey.objects.all()) == {first_key, key}


def test_where_a_key_is_about_to_retire_no_first_key_is_made(first_key):
    SigningKey.objects.update(retired_at=timezone.now() + LEAD)

    assert signing_keys.ensure_first_key(using="default") is None


def test_no_first_key_is_made_in_another_database_than_the_one_that_keys_are_written_to():
    SigningKey.objects.all().delete()

    assert signing_keys.ensure_first_key(using="replica") is None
    assert not SigningKey.objects.exists()


def test_no_first_key_is_made_before_its_table_is():
    # As after `migrate django_ciam_token zero`.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SigningKey._meta, "db_table", "not_there_yet")

        assert signing_keys.ensure_first_key(using="default") is None


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
