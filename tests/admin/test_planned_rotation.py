from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_ciam_token.admin import key_forms, times
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import EventType, SecurityEvent, SigningKey, SigningKeyState
from tests.operators import url

pytestmark = pytest.mark.django_db

PAGE = "signingkey_plan_rotation"


def planned(**ahead):
    """A form for so much time from now, to the minute."""
    at = (timezone.localtime() + timedelta(**ahead)).replace(second=0, microsecond=0)
    return at, {"confirmed": "yes", "algorithm": "ES256", "active_at": at.strftime("%Y-%m-%dT%H:%M")}


def test_a_planned_key_is_published_now_and_signs_at_exactly_the_chosen_time(
    operator, django_capture_on_commit_callbacks
):
    first = SigningKey.objects.get()
    at, form = planned(days=30)

    with django_capture_on_commit_callbacks(execute=True):
        answer = operator.post(url(PAGE), form, follow=True)

    now, keys = timezone.now(), list(SigningKey.objects.all())
    new = keys[0]
    assert "was created" in answer.content.decode()
    assert (new.active_at, new.algorithm) == (at, "ES256")
    assert new.state(now) is SigningKeyState.PUBLISHED
    assert key_set.active_key(keys, at - timedelta(microseconds=1)) == first
    assert key_set.active_key(keys, at) == new
    assert SecurityEvent.objects.get(event=EventType.KEY_ROTATED).actor == "operator"
    # In the timeline.
    assert 'class="ciam-published"' in answer.content.decode()
    assert new.kid[:8] in answer.content.decode()


@pytest.mark.parametrize("ahead", [{"minutes": 30}, {"days": -1}, {"days": 400}])
def test_a_time_before_verifiers_know_the_key_or_too_far_ahead_is_asked_for_again(operator, ahead):
    answer = operator.post(url(PAGE), planned(**ahead)[1])

    assert "Choose a time between" in answer.content.decode()
    assert SigningKey.objects.count() == 1


def test_the_question_offers_a_time_and_changes_nothing(operator):
    page = operator.get(url(PAGE)).content.decode()

    assert 'type="datetime-local"' in page
    assert SigningKey.objects.count() == 1


@pytest.mark.parametrize("name", [PAGE, "signingkey_rotate", "signingkey_rotate_now"])
def test_a_rotation_says_that_it_takes_the_place_of_a_planned_one(operator, name):
    key = signing_keys.rotate(lead=timedelta(days=30))

    page = operator.get(url(name)).content.decode()

    assert f"Key {key.kid[:12]} is planned to sign from {times.exact(key.active_at)}. If" in page


def test_a_rotation_in_between_takes_its_place(operator):
    key = signing_keys.rotate(lead=timedelta(days=30))

    operator.post(url("signingkey_rotate"), {"confirmed": "yes", "algorithm": "ES256"})

    key.refresh_from_db()
    assert key.retired_at < key.active_at
    assert f"Key {key.kid[:12]} is planned" not in operator.get(url(PAGE)).content.decode()


def test_the_emergency_page_names_the_keys_that_would_go_and_which_never_signed(operator):
    first = SigningKey.objects.get()
    key = signing_keys.rotate(lead=timedelta(days=30))
    SigningKey.objects.update(is_provisional=False)

    page = operator.get(url("signingkey_rotate_now")).content.decode()

    assert f"these keys are removed as well: {key.kid[:12]}, {first.kid[:12]}." in page
    assert f"Key {key.kid[:12]} has never signed." in page
    assert f"Key {first.kid[:12]} has never signed." not in page


def test_removing_retired_keys_says_which_never_signed(operator):
    unused = SigningKey.objects.get()
    assert unused.is_provisional
    signing_keys.rotate(immediately=True)

    assert (
        f"Key {unused.kid[:12]} has never signed."
        in operator.get(url("signingkey_remove_retired")).content.decode()
    )


def test_without_the_permission_it_is_refused(viewer):
    assert url(PAGE) not in viewer.get(url("signingkey_changelist")).content.decode()
    assert viewer.get(url(PAGE)).status_code == 403
    assert viewer.post(url(PAGE), planned(days=30)[1]).status_code == 403
    assert SigningKey.objects.count() == 1


def test_without_a_key_nothing_is_said_to_be_removed():
    assert key_forms.about_removal([], timezone.now()) == []
