"""The check that says who serves the discovery documents."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path, re_path

from django_ciam_token.checks import check_discovery

OURS = path("", include("django_ciam_token.urls"))


def other(request):
    return HttpResponse()


OTHER = path(".well-known/openid-configuration", other)
BROAD = re_path("^.well-known/", other)


def messages(*patterns, **settings):
    with override_settings(ROOT_URLCONF=tuple(patterns), **settings):
        return [(message.id, message.msg, message.hint) for message in check_discovery(None)]


def test_one_app_may_claim_them():
    assert messages(OURS) == []
    assert messages(path("auth/", include("django_ciam_token.urls")), OTHER) == []
    assert messages(OTHER) == []


@pytest.mark.parametrize("is_ours_first", [True, False])
def test_of_two_apps_it_says_who_serves(is_ours_first):
    patterns = (OURS, OTHER) if is_ours_first else (OTHER, OURS)

    [(number, text, hint)] = messages(*patterns)

    assert number == "django_ciam_token.W010"
    ours, theirs = "django_ciam_token.views.metadata.MetadataView", "tests.test_check_addresses.other"
    first, second = (ours, theirs) if is_ours_first else (theirs, ours)
    assert text == (
        f"/.well-known/openid-configuration is claimed by several apps: {first} serves it, and {second} "
        "never sees a request."
    )
    assert ("Clients do not find this service" in hint) != is_ours_first


def test_a_pattern_that_matches_more_claims_them_too():
    assert [text.split(" ")[0] for _, text, _ in messages(BROAD, OURS)] == [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ]


def test_a_view_for_all_that_is_left_claims_nothing_until_it_comes_first():
    everything = re_path(".*", other)

    assert messages(OURS, everything) == []
    assert len(messages(everything, OURS)) == 2


def test_it_looks_below_a_prefix_of_the_script():
    assert len(messages(OURS, OTHER, FORCE_SCRIPT_NAME="/site")) == 1
