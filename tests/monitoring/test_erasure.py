from __future__ import annotations

import pytest

from django_ciam_token.models import EventType, SecurityEvent
from django_ciam_token.monitoring.erasure import erase_person

pytestmark = pytest.mark.django_db(transaction=True)


def event(**fields):
    return SecurityEvent.objects.create(event=EventType.REVOKED, address="192.0.2.1", **fields)


def rows():
    fields = ("user_id", "actor", "address")
    return list(SecurityEvent.objects.order_by("pk").values_list(*fields))


@pytest.mark.parametrize("batch_size", [1, 2, 10_000])
def test_a_person_is_taken_out_and_the_events_stay(batch_size):
    event(user_id="42")
    event(user_id="7", actor="alice")
    event(user_id="42", actor="alice")
    event(user_id="42", actor="root")
    event(user_id="421", actor="alice2")
    progress = []

    number = erase_person(user_key="42", username="alice", batch_size=batch_size, on_progress=progress.append)

    assert number == progress[-1] == 4
    assert rows() == [
        ("", "", None),
        ("7", "", "192.0.2.1"),
        ("", "", None),
        ("", "root", None),
        ("421", "alice2", "192.0.2.1"),
    ]
    assert erase_person(user_key="42", username="alice") == 0


def test_a_dry_run_counts_and_changes_nothing():
    event(user_id="42")
    event(user_id="7", actor="alice")
    before = rows()

    assert erase_person(user_key="42", username="alice", dry_run=True) == 2
    assert erase_person(user_key="42", dry_run=True) == 1
    assert rows() == before


def test_without_a_key_nothing_is_erased():
    event(user_id="")

    with pytest.raises(ValueError, match="user_key is empty"):
        erase_person(user_key="", username="alice")
