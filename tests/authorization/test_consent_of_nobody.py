"""A user who is deleted, or whose application is, while they answer."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from django_ciam_token.authorization import consent
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client, Consent, RefreshToken
from tests.authorization.conftest import assert_sent_back, press, url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("model", [Client, get_user_model()])
def test_an_answer_is_refused_for_good_and_not_for_the_moment(signed_in, application, monkeypatch, model):
    application.asks_consent = True
    application.save()
    page = signed_in.get(url(application, scope="openid"))

    def must_ask(request, user):
        model.objects.all().delete()
        return True

    asked = []
    monkeypatch.setattr(consent, "must_ask", must_ask)
    monkeypatch.setattr(consent, "write_database", lambda model: asked.append(model) or write_database(model))

    assert_sent_back(press(signed_in, page, "allow"), "access_denied")

    assert Consent.objects.count() == RefreshToken.objects.count() == 0
    # Users may have a database of their own.
    assert {Client, get_user_model()} >= {*asked} - {Consent} >= {model}
