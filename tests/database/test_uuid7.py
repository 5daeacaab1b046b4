from __future__ import annotations

import time
import uuid

import pytest

from django_ciam_token.database.uuid7 import uuid7
from django_ciam_token.models import RefreshToken
from tests.factories import make_session


def test_it_is_a_uuid_of_version_7_and_the_rfc_variant():
    for _ in range(100):
        identifier = uuid7()

        assert identifier.version == 7
        assert identifier.variant == uuid.RFC_4122


def test_it_begins_with_the_time_in_milliseconds():
    before = time.time_ns() // 1_000_000
    identifier = uuid7()
    after = time.time_ns() // 1_000_000

    assert before <= identifier.int >> 80 <= after


def test_the_time_of_the_rfcs_example_gives_the_rfcs_first_48_bits(monkeypatch):
    # RFC 9562, appendix A.6: 2022-02-22T19:22:22Z.
    monkeypatch.setattr(time, "time_ns", lambda: 0x017F22E279B0 * 1_000_000 + 999_999)

    assert str(uuid7()).startswith("017f22e2-79b0-7")


def test_later_ones_sort_after_earlier_ones(monkeypatch):
    identifiers = []
    for milliseconds in (1, 2, 255, 256, 2**40, 2**47):
        monkeypatch.setattr(time, "time_ns", lambda milliseconds=milliseconds: milliseconds * 1_000_000)
        identifiers.append(uuid7())

    assert identifiers == sorted(identifiers)
    assert [str(identifier) for identifier in identifiers] == sorted(map(str, identifiers))


def test_two_of_the_same_millisecond_differ(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)

    identifiers = {uuid7() for _ in range(1_000)}

    assert len(identifiers) == 1_000
    # Every one of the 74 random bits is seen both set and unset.
    seen_set = seen_unset = 0
    for identifier in identifiers:
        seen_set |= identifier.int
        seen_unset |= ~identifier.int
    random_bits = (1 << 62) - 1 | ((1 << 12) - 1) << 64
    assert seen_set & random_bits == random_bits
    assert seen_unset & random_bits == random_bits


@pytest.mark.django_db(transaction=True)
def test_keys_ascend_with_time_on_this_database(web_client):
    """What newest first means, and that a walk in key order skips nothing."""
    ids = []
    for _ in range(20):
        ids.append(make_session(web_client, id=uuid7()).pk)
        time.sleep(0.0015)
    keys = RefreshToken.objects.order_by("pk").values_list("pk", flat=True)

    assert list(keys) == ids
    for position, key in enumerate(ids):
        assert list(keys.filter(pk__gt=key)) == ids[position + 1 :]
