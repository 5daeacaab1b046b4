from __future__ import annotations

import pytest

from django_ciam_token import scopes
from django_ciam_token.errors import InvalidScope

GRANTED = ("openid", "profile", "email")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("openid", ("openid",)),
        ("openid profile", ("openid", "profile")),
        ("profile openid", ("profile", "openid")),
        ("openid profile openid", ("openid", "profile")),
        ("openid OPENID", ("openid", "OPENID")),
        ("https://api.example.com/orders.read", ("https://api.example.com/orders.read",)),
        ("!#$%&'()*+,-./:;<=>?@[]^_`{|}~", ("!#$%&'()*+,-./:;<=>?@[]^_`{|}~",)),
    ],
)
def test_a_scope_is_split_at_spaces_in_order_and_without_duplicates(text, parsed):
    assert scopes.parse(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        " openid",
        "openid ",
        "openid  profile",
        "openid\tprofile",
        "openid\nprofile",
        "openid\n",
        'open"id',
        "open\\id",
        "op\x7fenid",
        "öpenid",
        "openid\xa0profile",
        "\x00",
    ],
)
def test_a_malformed_scope_is_refused(text):
    with pytest.raises(InvalidScope) as caught:
        scopes.parse(text)

    assert caught.value.reason == "malformed_scope"
    assert caught.value.members() == {
        "error": "invalid_scope",
        "error_description": "scope must be names separated by single spaces",
    }


@pytest.mark.parametrize(
    ("requested", "narrowed"),
    [
        (None, GRANTED),
        ("openid", ("openid",)),
        ("email openid", ("email", "openid")),
        ("email profile openid", ("email", "profile", "openid")),
        ("openid openid", ("openid",)),
    ],
)
def test_a_request_narrows_what_was_granted(requested, narrowed):
    assert scopes.narrow(GRANTED, requested) == narrowed


@pytest.mark.parametrize("requested", ["admin", "openid admin", "Openid", "openid profile email address"])
def test_asking_for_more_than_was_granted_is_refused(requested):
    with pytest.raises(InvalidScope) as caught:
        scopes.narrow(GRANTED, requested)

    assert caught.value.reason == "scope_widened"
    assert caught.value.members() == {
        "error": "invalid_scope",
        "error_description": "scope asks for more than was granted; leave it out or name fewer",
    }


def test_a_malformed_request_is_not_reported_as_too_wide():
    with pytest.raises(InvalidScope) as caught:
        scopes.narrow(GRANTED, "openid  profile")

    assert caught.value.reason == "malformed_scope"


@pytest.mark.parametrize(
    ("scope", "allowed", "expected"),
    [
        ((), (), True),
        ((), GRANTED, True),
        (("openid",), GRANTED, True),
        (("email", "openid", "profile"), GRANTED, True),
        (("openid", "admin"), GRANTED, False),
        (("openid",), (), False),
    ],
)
def test_a_scope_is_allowed_if_every_name_in_it_is(scope, allowed, expected):
    assert scopes.is_within(scope, allowed) is expected
