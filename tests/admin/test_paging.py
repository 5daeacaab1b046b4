from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_ciam_token.admin import paging, sessions
from django_ciam_token.api import issue_tokens
from django_ciam_token.models import RefreshToken
from tests.factories import ClientFactory, UserFactory
from tests.operators import url

pytestmark = pytest.mark.django_db


def shown(response):
    """The keys of the sessions in a list."""
    return [session.pk for session in response.context["cl"].result_list]


def test_the_list_ends_after_a_limit_and_says_so(operator, web_client, monkeypatch):
    monkeypatch.setattr(paging, "MOST_SHOWN", 3)
    monkeypatch.setattr(sessions.RefreshTokenAdmin, "list_per_page", 2)
    for _ in range(5):
        issue_tokens(client=web_client, user=UserFactory())
    newest = list(RefreshToken.objects.order_by("-pk").values_list("pk", flat=True))

    assert shown(operator.get(url("refreshtoken_changelist"))) == newest[:2]
    last = operator.get(url("refreshtoken_changelist") + "?p=2")
    assert shown(last) == newest[2:3]
    assert "Only the newest 3 are shown" in last.content.decode()


def test_no_page_of_the_list_counts_the_table(operator, session):
    with CaptureQueriesContext(connection) as queries:
        operator.get(url("refreshtoken_changelist"))

    assert not any("COUNT(" in query["sql"].upper() for query in queries)


def test_no_more_rows_are_selected_than_a_form_can_hold(operator, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 22
    selected = [ClientFactory() for _ in range(3)]
    form = {"action": "disable", "_selected_action": [client.pk for client in selected]}

    page = operator.post(url("client_changelist"), form).content.decode()

    assert page.count('name="_selected_action"') == 2
    assert "Repeat the action for the rest." in page
