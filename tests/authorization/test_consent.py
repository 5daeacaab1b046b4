"""Consent: asked for, given, denied, remembered, withdrawn."""

from __future__ import annotations

import re
import threading

import pytest
from django.db import connection
from django.test import Client as Browser

from django_ciam_token import signals
from django_ciam_token.api import list_consents, withdraw_consent
from django_ciam_token.authorization.consent import give_consent
from django_ciam_token.caller import NOBODY
from django_ciam_token.models import Consent, EventType, RefreshToken, RevocationReason, SecurityEvent
from tests.authorization.conftest import (
    answer_of,
    assert_headers,
    assert_page,
    assert_sent_back,
    exchange,
    form_of,
    next_of,
    press,
    url,
)
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def application(application):
    """One of other people: it asks."""
    application.asks_consent = True
    application.name = "Ärger <b>&amp; Söhne</b>"
    application.save()
    return application


@pytest.fixture
def page(signed_in, application):
    return signed_in.get(url(application, scope="openid email"))


def test_the_page_says_who_asks_for_what_and_who_is_signed_in(page, user):
    text = page.content.decode()

    assert page.status_code == 200
    assert_headers(page)
    assert "Ärger &lt;b&gt;&amp;amp; Söhne&lt;/b&gt; asks for access" in text
    assert "Sign you in" in text
    assert "Read your email address" in text
    assert user.get_username() in text
    assert "app.example.com" in text
    assert 'name="decision" value="allow"' in text
    assert 'name="decision" value="deny"' in text
    assert "<script" not in text
    assert RefreshToken.objects.count() == Consent.objects.count() == 0


def test_allow_gives_a_code_and_is_remembered(signed_in, application, page, user):
    response = press(signed_in, page, "allow")

    assert response.status_code == 303
    assert_headers(response)
    assert exchange(application, answer_of(response)["code"])["scope"] == "openid email"
    [consent] = Consent.objects.all()
    assert (consent.client, consent.user, consent.scope) == (application, user, "openid email")
    for changes in ({"scope": "openid email"}, {"scope": "email"}, {"prompt": "none"}):
        assert "code" in answer_of(signed_in.get(url(application, **changes)))


@pytest.mark.parametrize("state", ["{\n  1\n}", "a\r\nb", "\r", "line\n*", "%0a\n%", "ü\n" * 1_000])
def test_a_state_with_line_breaks_comes_back_unchanged(signed_in, application, state):
    page = signed_in.get(url(application, state=state))
    # Browsers write each line break within a field as CR and LF.
    as_browsers_do = {name: re.sub(r"\r\n|\r|\n", "\r\n", value) for name, value in form_of(page)[1].items()}

    assert answer_of(press(signed_in, page, "allow", **as_browsers_do))["state"] == state


def test_a_broken_encoding_in_the_form_is_a_page(signed_in, page):
    assert_page(press(signed_in, page, "allow", **{"state*": "%ff"}), 400)


def test_deny_goes_back_and_is_not_remembered(signed_in, application, page):
    answer = assert_sent_back(press(signed_in, page, "deny"), "access_denied")

    assert answer["state"]
    assert Consent.objects.count() == RefreshToken.objects.count() == 0
    assert form_of(signed_in.get(url(application)))


def test_any_other_answer_is_a_denial(signed_in, page):
    assert_sent_back(press(signed_in, page, "maybe"), "access_denied")


def test_more_than_was_allowed_is_asked_for_and_added(signed_in, application, page):
    press(signed_in, page, "allow")

    more = signed_in.get(url(application, scope="profile"))
    assert_sent_back(signed_in.get(url(application, scope="profile", prompt="none")), "consent_required")
    press(signed_in, more, "allow")

    assert Consent.objects.get().scope == "openid email profile"


def test_prompt_consent_asks_again_and_also_for_an_application_that_does_not(signed_in, application, page):
    press(signed_in, page, "allow")

    again = signed_in.get(url(application, prompt="consent"))
    assert "code" in answer_of(press(signed_in, again, "allow"))
    application.asks_consent = False
    application.save()

    assert form_of(signed_in.get(url(application, prompt="consent")))


def test_an_application_of_ones_own_does_not_ask(signed_in, application):
    application.asks_consent = False
    application.save()

    assert "code" in answer_of(signed_in.get(url(application)))
    assert Consent.objects.count() == 0


def test_consent_after_a_fresh_login(signed_in, application, user):
    address = next_of(signed_in.get(url(application, prompt="login consent")))
    signed_in.force_login(user)

    page = signed_in.get(address)

    assert "code" in answer_of(press(signed_in, page, "allow"))
    assert next_of(signed_in.get(address)), "the mark is gone"


def test_what_another_user_allowed_does_not_count(signed_in, application, page):
    press(signed_in, page, "allow")
    signed_in.force_login(UserFactory())

    assert form_of(signed_in.get(url(application)))


# Forged answers


def test_without_djangos_csrf_token_nothing_happens(signed_in, page):
    for token in (None, "", "x" * 32, "x" * 64):
        response = press(signed_in, page, "allow", csrfmiddlewaretoken=token)
        assert response.status_code == 403
        assert_headers(response)
    assert Consent.objects.count() == RefreshToken.objects.count() == 0


def test_a_foreign_origin_is_refused(signed_in, page):
    action, fields = form_of(page)

    response = signed_in.post(action, {**fields, "decision": "allow"}, HTTP_ORIGIN="https://evil.example")

    assert response.status_code in (403, 415)


@pytest.mark.parametrize("seal", [None, "", "0" * 64, "ä"])
def test_an_answer_without_its_seal_is_asked_again(signed_in, page, seal):
    again = press(signed_in, page, "allow", seal=seal)

    assert again.status_code == 200
    assert Consent.objects.count() == RefreshToken.objects.count() == 0
    assert "code" in answer_of(press(signed_in, again, "allow"))


@pytest.mark.parametrize(
    "changes", [{"scope": "openid email profile"}, {"state": "other"}, {"nonce": "other"}, {"scope": None}]
)
def test_an_answer_to_another_question_is_asked_again(signed_in, page, changes):
    assert press(signed_in, page, "allow", **changes).status_code == 200
    assert Consent.objects.count() == 0


def test_an_answer_of_another_user_is_asked_again(signed_in, application, page):
    signed_in.force_login(UserFactory())
    _, fields = form_of(signed_in.get(url(application, scope="openid email")))
    mine = {"csrfmiddlewaretoken": fields["csrfmiddlewaretoken"]}

    assert press(signed_in, page, "allow", **mine).status_code == 200
    assert Consent.objects.count() == 0


def test_an_answer_of_an_earlier_login_of_the_user_is_asked_again(signed_in, application, page, user):
    signed_in.logout()
    signed_in.force_login(user)
    _, fields = form_of(signed_in.get(url(application, scope="openid email")))
    mine = {"csrfmiddlewaretoken": fields["csrfmiddlewaretoken"]}

    assert press(signed_in, page, "allow", **mine).status_code == 200
    assert Consent.objects.count() == 0


def test_an_answer_of_another_user_is_asked_again_although_no_login_is_on_record(
    signed_in, application, user
):
    def forget(browser):
        session = browser.session
        del session["django_ciam_token_login"]
        session.save()

    forget(signed_in)
    page = signed_in.get(url(application))
    signed_in.force_login(UserFactory())
    forget(signed_in)
    _, fields = form_of(signed_in.get(url(application)))
    mine = {"csrfmiddlewaretoken": fields["csrfmiddlewaretoken"]}

    assert press(signed_in, page, "allow", **mine).status_code == 200
    assert Consent.objects.count() == 0


def test_an_answer_of_who_is_no_longer_signed_in_is_a_login(signed_in, page, application):
    signed_in.cookies.pop("sessionid")

    assert next_of(press(signed_in, page, "allow")) == url(application, scope="openid email")


def test_a_decision_in_the_query_decides_nothing(signed_in, application, page):
    _, fields = form_of(page)

    response = signed_in.get(url(application, scope="openid email", decision="allow", seal=fields["seal"]))

    assert response.status_code == 200
    assert Consent.objects.count() == 0


def test_a_site_without_the_csrf_middleware_is_protected(application, user, settings):
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(user)
    page = browser.get(url(application))

    assert press(browser, page, "allow", csrfmiddlewaretoken=None).status_code == 403
    assert "code" in answer_of(press(browser, page, "allow"))


# Remembering


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_first", [True, False])
def test_two_tabs_that_answer_at_once_are_both_remembered(application, user, is_first):
    barrier = threading.Barrier(2)

    def answer(scope):
        try:
            barrier.wait()
            give_consent(client=application, user=user, scope=(scope,), caller=NOBODY)
        finally:
            connection.close()

    for _ in range(10):
        Consent.objects.all().delete()
        if not is_first:
            Consent.objects.create(client=application, user=user, scope="openid")
        threads = [threading.Thread(target=answer, args=[scope]) for scope in ("email", "profile")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(Consent.objects.get().scopes) - {"openid"} == {"email", "profile"}


def test_a_first_answer_that_another_tab_overtakes_is_added_to_its(application, user, monkeypatch):
    from django.db.models import QuerySet

    Consent.objects.create(client=application, user=user, scope="email")
    real, found = QuerySet.first, []

    def first(self):
        if self.model is Consent and not found:
            found.append(1)
            return None
        return real(self)

    monkeypatch.setattr(QuerySet, "first", first)

    give_consent(client=application, user=user, scope=("profile",), caller=NOBODY)

    assert set(Consent.objects.get().scopes) == {"email", "profile"}


@pytest.mark.django_db(transaction=True)
def test_a_commit_whose_outcome_is_unknown_is_reported_once(application, user, break_next_commit, traces):
    break_next_commit()

    give_consent(client=application, user=user, scope=("openid",), caller=NOBODY)

    assert Consent.objects.get().scope == "openid"
    assert len(traces.of(signals.consent_given)) == 1


@pytest.mark.django_db(transaction=True)
def test_what_is_new_is_signalled_and_recorded_and_nothing_else(signed_in, application, page, user, traces):
    press(signed_in, page, "allow")
    again = signed_in.get(url(application, prompt="consent"))
    press(signed_in, again, "allow")

    [sent] = traces.of(signals.consent_given)
    assert (sent["client"], sent["user"], sent["scope"]) == (application, user, ("openid", "email"))
    [event] = SecurityEvent.objects.filter(event=EventType.CONSENT_GIVEN)
    assert (event.client_id, event.user_id) == (application.client_id, str(user.pk))
    assert (event.address, event.reason) == ("127.0.0.1", "openid email")


# Withdrawing


@pytest.mark.django_db(transaction=True)
def test_a_user_sees_and_withdraws_what_they_allowed(signed_in, application, page, user, refresh, traces):
    tokens = exchange(application, answer_of(press(signed_in, page, "allow"))["code"])
    [consent] = list_consents(user=user)
    assert (consent.client, consent.scopes) == (application, ("openid", "email"))

    assert withdraw_consent(user=user, client=application) is True

    assert list_consents(user=user) == []
    assert refresh(application, tokens["refresh_token"]).json() == {"error": "invalid_grant"}
    assert RefreshToken.objects.get().revoked_reason == RevocationReason.CONSENT
    assert form_of(signed_in.get(url(application, scope="email")))
    assert len(traces.of(signals.consent_withdrawn)) == 1
    [event] = SecurityEvent.objects.filter(event=EventType.CONSENT_WITHDRAWN)
    assert (event.client_id, event.user_id, event.actor) == (application.client_id, str(user.pk), "")


@pytest.mark.django_db(transaction=True)
def test_a_code_that_was_not_exchanged_yet_is_dead_as_well(signed_in, application, page, user):
    code = answer_of(press(signed_in, page, "allow"))["code"]

    withdraw_consent(user=user, client=application, actor="operator", reason=RevocationReason.OPERATOR)

    with pytest.raises(AssertionError, match="invalid_grant"):
        exchange(application, code)
    assert SecurityEvent.objects.get(event=EventType.CONSENT_WITHDRAWN).actor == "operator"


def test_nothing_else_is_withdrawn(signed_in, application, page, user, web_client, first_tokens, refresh):
    press(signed_in, page, "allow")
    other = UserFactory()
    give_consent(client=application, user=other, scope=("openid",), caller=NOBODY)

    assert withdraw_consent(user=other, client=web_client) is False
    assert withdraw_consent(user=user, client=application) is True

    assert [consent.user for consent in Consent.objects.all()] == [other]
    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200
