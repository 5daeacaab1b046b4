from __future__ import annotations

import pytest

from django_ciam_token.models import SecurityEvent
from tests.operators import url

pytestmark = pytest.mark.django_db


def test_events_are_found_by_session_client_or_user_and_their_pages_open(operator, session):
    event = SecurityEvent.objects.create(event="issued", session_id=session.pk, client_id="a", user_id="7")
    SecurityEvent.objects.create(event="issued", client_id="b")
    for term in (str(session.pk), "a", "7"):
        found = operator.get(url("securityevent_changelist"), {"q": term}).context["cl"].result_list
        assert [row.pk for row in found] == [event.pk]
    assert len(operator.get(url("securityevent_changelist"), {"q": " "}).context["cl"].result_list) == 2
    assert operator.get(url("securityevent_history", event.pk)).status_code == 200
