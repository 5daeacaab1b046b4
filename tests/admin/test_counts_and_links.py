"""Numbers say what the page behind them shows, and links lead only where the operator may go."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from django_ciam_token.admin import paging
from django_ciam_token.models import RefreshToken
from django_ciam_token.monitoring import figures
from tests.factories import sessions
from tests.operators import browser_of, url

pytestmark = pytest.mark.django_db

OVERVIEW = ("admin:app_list", ["django_ciam_token"])


def overview(browser):
    return browser.get(reverse(OVERVIEW[0], args=OVERVIEW[1])).content.decode()


def test_a_list_that_ends_after_a_limit_says_that_there_are_more(operator, monkeypatch):
    monkeypatch.setattr(paging, "MOST_SHOWN", 2)
    sessions(3)

    page = operator.get(url("refreshtoken_changelist"), {"started": "1d"}).content.decode()

    assert "more than 2 sessions" in page
    assert "result" not in re.sub("result_list|results", "", page)


def test_a_list_that_is_complete_says_how_many_there_are(operator, monkeypatch):
    monkeypatch.setattr(paging, "MOST_SHOWN", 2)
    sessions(2)

    page = operator.get(url("refreshtoken_changelist"), {"started": "1d"}).content.decode()

    assert "2 sessions" in page
    assert "more than" not in page


def test_the_number_of_sessions_that_have_not_ended_links_to_just_these(operator):
    client = sessions(3)
    RefreshToken.objects.filter(pk=RefreshToken.objects.first().pk).update(revoked_at=timezone.now())
    page = operator.get(url("client_change", client.pk)).content.decode()

    [address] = re.findall(r'href="([^"]*)">2 that have not ended</a>', page)

    found = operator.get(address.replace("&amp;", "&")).context["cl"].result_list
    assert len(found) == 2


def test_the_live_sessions_of_a_client_on_the_overview_link_to_just_these(operator):
    client = sessions(1)

    assert f'?client__id__exact={client.pk}&amp;state=live">' in overview(operator)


def test_what_waits_for_purge_is_never_at_least_none(operator, monkeypatch):
    monkeypatch.setattr(figures, "_OLDEST", 1)
    sessions(1)

    page = overview(operator)

    assert "at least 0" not in page
    assert "none of the oldest" in page


def test_operators_who_may_not_see_sessions_get_no_link_to_them():
    sessions(1)

    page = browser_of("view_client").get(url("client_changelist")).content.decode()

    assert url("refreshtoken_changelist") not in page
    assert re.search(r'field-live_sessions">1<', page)


@pytest.mark.parametrize("may_see_users", [True, False])
def test_a_session_links_to_its_user_for_those_who_may_see_users(session, may_see_users):
    also = ("view_user",) if may_see_users else ()
    browser = browser_of("view_refreshtoken", *also)

    page = browser.get(url("refreshtoken_change", session.pk)).content.decode()

    assert (reverse("admin:auth_user_change", args=[session.user_id]) in page) is may_see_users


def test_the_breadcrumbs_have_no_link_for_operators_who_may_only_end_sessions(session):
    page = browser_of("revoke_refreshtoken").get(url("refreshtoken_sign_out", session.user_id))

    trail = page.content.decode().split('class="breadcrumbs"')[1].split("</div>")[0]
    assert "Sessions" in trail
    assert url("refreshtoken_changelist") not in trail
