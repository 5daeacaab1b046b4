from __future__ import annotations

import copy
import pprint
from collections.abc import Mapping

import pytest

from django_ciam_token.concealed import Concealed, Form

SECRET = "0123456789abcdef"


def seen_by_an_error_tracker(value):
    return [repr(value), str(value), f"{value}", pprint.pformat({"nested": [value]}), f"{value!r:>40}"]


def test_a_concealed_string_is_only_seen_where_it_is_revealed():
    secret = Concealed(SECRET)

    assert not isinstance(secret, str)
    assert all(SECRET not in text for text in seen_by_an_error_tracker(secret))
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == SECRET
    assert secret.lend(len) == 16
    assert copy.deepcopy(secret).reveal() == SECRET


def test_concealed_strings_are_compared_by_what_they_conceal():
    assert Concealed("ü\ud800") == Concealed("ü\ud800")
    assert Concealed(SECRET) != Concealed(SECRET + "x")
    assert Concealed(SECRET) != SECRET
    assert Concealed.of(Concealed(SECRET)) == Concealed.of(SECRET)


def test_an_error_of_what_it_was_lent_to_leaves_without_the_frames_that_held_it():
    def parse(text):
        try:
            raise ValueError(text)
        except ValueError as error:
            raise RuntimeError("could not be parsed") from error

    with pytest.raises(RuntimeError, match="could not be parsed") as caught:
        Concealed(SECRET).lend(parse)

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    # The frames of this test and of `lend`, and none below.
    assert [entry.name for entry in caught.traceback][-1] == "lend"


def test_a_form_gives_each_parameter_and_shows_none():
    form = Form({"refresh_token": SECRET, "scope": "openid"})

    assert not isinstance(form, Mapping)
    assert all(SECRET not in text for text in seen_by_an_error_tracker(form))
    assert form["refresh_token"] == form.get("refresh_token") == SECRET
    assert form.get("client_id") is None
    assert form.get("client_id", "none") == "none"
    assert "scope" in form
    assert list(form) == ["refresh_token", "scope"]
    assert len(form) == 2
    assert dict(form) == {"refresh_token": SECRET, "scope": "openid"} == form
    assert form == Form(dict(form))
    with pytest.raises(KeyError):
        form["client_id"]


def test_whatever_copies_the_items_of_a_form_gets_concealed_values():
    form = Form({"refresh_token": SECRET})

    for copied in (dict(form.items()), form.copy()):
        assert copied == {"refresh_token": Concealed(SECRET)}
        assert SECRET not in repr(copied)
    assert copy.deepcopy(form) == form
    assert SECRET not in repr(copy.deepcopy(form))


def test_neither_is_hashable():
    for value in (Concealed(SECRET), Form()):
        with pytest.raises(TypeError):
            hash(value)
