"""The page that says what a pasted token is, for tokens of another package."""

from __future__ import annotations

import pytest
from django.utils import timezone

from django_ciam_token.admin.token_inspection import Kind, inspect
from django_ciam_token.concealed import Concealed
from django_ciam_token.models import ForeignToken, RefreshToken
from tests.operators import url
from tests.other_package import ASKED, live

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("other_tokens_accepted")]


def look(token):
    return inspect(Concealed(token), now=timezone.now())


def test_a_token_that_was_used_here_leads_to_its_session(operator, web_client, user, refresh):
    text, _ = live(web_client, user)
    refresh(web_client, text)
    session = RefreshToken.objects.get()

    found = look(text)
    page = operator.post(url("refreshtoken_find_by_token"), {"token": text}).content.decode()

    assert (found.kind, found.is_genuine, found.is_live) == (Kind.FOREIGN, True, True)
    assert found.position == "the predecessor of the current one"
    assert f'href="{url("refreshtoken_change", session.pk)}"' in page
    assert text not in page


def test_looking_at_a_token_does_not_take_it_over(web_client, user):
    text, _ = live(web_client, user)

    assert look(text).kind is Kind.UNKNOWN

    assert not RefreshToken.objects.exists()
    assert not ForeignToken.objects.exists()
    assert ASKED == []


def test_what_no_package_recognises_is_nothing(web_client):
    assert look("new-0123456789").kind is Kind.UNKNOWN
