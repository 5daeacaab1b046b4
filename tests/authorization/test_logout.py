"""``/oauth2/logout``, over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from urllib.parse import urlencode

import pytest
import time_machine
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_out
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import RefreshToken, RevocationReason
from tests.authorization.conftest import (
    answer_of,
    assert_headers,
    assert_page,
    claims_of,
    exchange,
    form_of,
    press,
    url,
)
from tests.factories import ClientFactory, UserFactory
from tests.operators import refuse

pytestmark = pytest.mark.django_db

LOGOUT = "/oauth2/logout"
BYE = "https://app.example.com/bye"


@pytest.fixture
def tokens(signed_in, application):
    """Of a session that the signed-in browser began."""
    return exchange(application, answer_of(signed_in.get(url(application)))["code"])


def logout_url(**parameters):
    return f"{LOGOUT}?{urlencode(parameters)}"


def is_signed_in(browser):
    return SESSION_KEY in browser.session


def assert_asks(browser, response):
    assert response.status_code == 200, response.content
    assert_headers(response)
    assert form_of(response)[0] == LOGOUT
    assert is_signed_in(browser)


def test_with_the_id_token_of_this_login_nothing_is_asked(signed_in, application, tokens, refresh, user):
    heard = []
    user_logged_out.connect(lambda **kwargs: heard.append(kwargs["user"]), weak=False, dispatch_uid="test")

    response = signed_in.get(
        logout_url(id_token_hint=tokens["id_token"], post_logout_redirect_uri=BYE, state="a b")
    )
    user_logged_out.disconnect(dispatch_uid="test")

    assert response.status_code == 302
    assert response["Location"] == f"{BYE}?state=a+b"
    assert_headers(response)
    assert not is_signed_in(signed_in)
    assert heard == [user]
    assert refresh(application, tokens["refresh_token"]).json() == {"error": "invalid_grant"}
    assert RefreshToken.objects.get().revoked_reason == RevocationReason.USER


def test_without_a_state_and_with_a_form(signed_in, tokens):
    body = urlencode({"id_token_hint": tokens["id_token"], "logout_redirect_uri": BYE})

    response = signed_in.post(LOGOUT, body, content_type="application/x-www-form-urlencoded")

    assert (response.status_code, response["Location"]) == (303, BYE)
    assert not is_signed_in(signed_in)


def test_without_an_address_a_page_says_so(signed_in, tokens):
    text = assert_page(signed_in.get(logout_url(id_token_hint=tokens["id_token"])), 200)

    assert "You are signed out" in text
    assert not is_signed_in(signed_in)


def test_a_session_that_may_go_on_offline_does(signed_in, settings, user, refresh):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SCOPES": {"openid": "", "offline_access": ""}}
    application = ClientFactory(
        redirect_uris="https://app.example.com/callback", scope="openid offline_access"
    )
    code = answer_of(signed_in.get(url(application, scope="openid offline_access")))["code"]
    tokens = exchange(application, code)

    signed_in.get(logout_url(id_token_hint=tokens["id_token"]))

    assert not is_signed_in(signed_in)
    assert refresh(application, tokens["refresh_token"]).status_code == 200


def test_other_sessions_of_the_user_go_on(signed_in, tokens, web_client, first_tokens, refresh):
    signed_in.get(logout_url(id_token_hint=tokens["id_token"]))

    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200


def test_an_expired_id_token_still_serves(signed_in, tokens):
    with time_machine.travel(timezone.now() + timedelta(days=2)):
        response = signed_in.get(logout_url(id_token_hint=tokens["id_token"], post_logout_redirect_uri=BYE))

    assert response["Location"] == BYE
    assert not is_signed_in(signed_in)


def test_an_id_token_from_before_the_user_signed_in_once_more_still_serves(signed_in, tokens, user):
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        signed_in.force_login(user)
        signed_in.get(logout_url(id_token_hint=tokens["id_token"]))

    assert not is_signed_in(signed_in)


# A page asks


def test_without_a_hint_a_page_asks_and_then_signs_out(signed_in, application):
    page = signed_in.get(logout_url(client_id=application.client_id, post_logout_redirect_uri=BYE, state="s"))
    assert_asks(signed_in, page)
    assert application.name in page.content.decode()

    response = press(signed_in, page, "allow")

    assert (response.status_code, response["Location"]) == (303, f"{BYE}?state=s")
    assert not is_signed_in(signed_in)


def test_a_state_with_line_breaks_comes_back_unchanged(signed_in, application):
    page = signed_in.get(
        logout_url(client_id=application.client_id, post_logout_redirect_uri=BYE, state="{\n 1}")
    )
    assert not any("\n" in value for value in form_of(page)[1].values())

    assert press(signed_in, page, "allow")["Location"] == f"{BYE}?state=%7B%0A+1%7D"


def test_who_does_not_want_to_stays_signed_in(signed_in, application):
    page = signed_in.get(logout_url(client_id=application.client_id, post_logout_redirect_uri=BYE))

    text = assert_page(press(signed_in, page, "deny"), 200)

    assert "You are still signed in" in text
    assert is_signed_in(signed_in)


def test_another_answer_than_these_two_is_asked_again(signed_in, application):
    page = signed_in.get(logout_url(client_id=application.client_id, post_logout_redirect_uri=BYE))

    response = press(signed_in, page, "perhaps")

    assert (response.status_code, 'value="allow"' in response.content.decode()) == (200, True)
    assert is_signed_in(signed_in)


def test_without_djangos_csrf_token_nobody_is_signed_out(signed_in):
    page = signed_in.get(LOGOUT)

    response = press(signed_in, page, "allow", csrfmiddlewaretoken=None)

    assert response.status_code == 403
    assert_headers(response)
    assert is_signed_in(signed_in)


def test_a_decision_in_the_query_decides_nothing(signed_in):
    assert_asks(signed_in, signed_in.get(logout_url(decision="allow")))


def test_the_id_token_of_somebody_else_asks_and_ends_no_session_of_theirs(
    signed_in, application, tokens, refresh
):
    signed_in.force_login(UserFactory())

    page = signed_in.get(logout_url(id_token_hint=tokens["id_token"]))
    assert_asks(signed_in, page)
    press(signed_in, page, "allow")

    assert not is_signed_in(signed_in)
    assert refresh(application, tokens["refresh_token"]).status_code == 200


def test_the_id_token_of_another_login_of_the_user_asks(signed_in, application, tokens, user, refresh):
    from django.test import Client as Browser

    other = Browser(enforce_csrf_checks=True)
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        other.force_login(user)
    page = other.get(logout_url(id_token_hint=tokens["id_token"]))
    assert_asks(other, page)

    press(other, page, "allow")

    assert not is_signed_in(other)
    assert is_signed_in(signed_in)
    assert refresh(application, tokens["refresh_token"]).json() == {"error": "invalid_grant"}


def forged(tokens):
    header, payload, signature = tokens["id_token"].split(".")
    return [
        f"{header}.{payload}.{'A' * len(signature)}",
        f"eyJhbGciOiJub25lIn0.{payload}.",
        tokens["access_token"],
        tokens["refresh_token"],
        "not a token",
        "a.b.c",
    ]


@pytest.mark.parametrize("number", range(6))
def test_a_forged_hint_signs_nobody_out_and_leads_nowhere(signed_in, tokens, refresh, application, number):
    hint = forged(tokens)[number]

    assert_asks(signed_in, signed_in.get(logout_url(id_token_hint=hint, post_logout_redirect_uri=BYE)))

    signed_in.logout()
    assert_page(signed_in.get(logout_url(id_token_hint=hint, post_logout_redirect_uri=BYE)), 200)
    assert refresh(application, tokens["refresh_token"]).status_code == 200


def test_an_id_token_of_issue_tokens_asks(signed_in, first_tokens):
    assert first_tokens["id_token"]
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        pass
    session = signed_in.session
    session["django_ciam_token_login"]["at"] = [1]
    session.save()

    assert_asks(signed_in, signed_in.get(logout_url(id_token_hint=first_tokens["id_token"])))


# Where to go


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        BYE + "/",
        BYE + "?x=1",
        "https://app.example.com/callback",
        "javascript:alert(1)",
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_registered(signed_in, application, tokens, address):
    for named in ({"client_id": application.client_id}, {"id_token_hint": tokens["id_token"]}):
        for name in ("post_logout_redirect_uri", "logout_redirect_uri"):
            text = assert_page(signed_in.get(logout_url(**named, **{name: address})))
            assert "evil" not in text
    assert is_signed_in(signed_in)


def test_the_address_of_another_client_is_not_registered(signed_in, application, tokens):
    other = ClientFactory(post_logout_redirect_uris="https://other.example.com/bye")

    assert_page(
        signed_in.get(
            logout_url(
                id_token_hint=tokens["id_token"], post_logout_redirect_uri=other.post_logout_redirect_uris
            )
        )
    )
    assert is_signed_in(signed_in)


def test_with_neither_hint_nor_client_nobody_is_redirected(signed_in):
    page = signed_in.get(logout_url(post_logout_redirect_uri=BYE))
    assert_asks(signed_in, page)

    assert_page(press(signed_in, page, "allow"), 200)
    assert not is_signed_in(signed_in)
    assert_page(signed_in.get(logout_url(post_logout_redirect_uri=BYE)), 200)


@pytest.mark.parametrize("is_hinted", [True, False])
def test_who_is_signed_out_already_is_still_redirected(browser, signed_in, application, tokens, is_hinted):
    signed_in.logout()
    named = {"id_token_hint": tokens["id_token"]} if is_hinted else {"client_id": application.client_id}

    response = browser.get(logout_url(**named, post_logout_redirect_uri=BYE, state="s"))

    assert response["Location"] == f"{BYE}?state=s"


def test_an_id_token_alone_ends_no_session(browser, application, tokens, refresh):
    browser.logout()
    browser.get(logout_url(id_token_hint=tokens["id_token"]))

    assert refresh(application, tokens["refresh_token"]).status_code == 200


def test_a_disabled_client_sends_nobody_anywhere(signed_in, application, tokens):
    application.is_active = False
    application.save()

    assert_page(signed_in.get(logout_url(id_token_hint=tokens["id_token"], post_logout_redirect_uri=BYE)))


def test_a_disabled_client_still_signs_out(signed_in, application, tokens):
    application.is_active = False
    application.save()

    assert_page(signed_in.get(logout_url(id_token_hint=tokens["id_token"])), 200)
    assert not is_signed_in(signed_in)


@pytest.mark.parametrize(
    "query",
    [
        f"post_logout_redirect_uri={BYE}&logout_redirect_uri=https://other.example/",
        "client_id=a&client_id=a",
        "state=a&state=b",
        "state=%00",
        "state=%ff",
        "id_token_hint=a&id_token_hint=",
    ],
)
def test_what_contradicts_itself_is_a_page(signed_in, query):
    assert_page(signed_in.get(f"{LOGOUT}?{query}"))
    assert is_signed_in(signed_in)


def test_both_names_with_one_value_are_fine(signed_in, application, tokens):
    response = signed_in.get(
        logout_url(id_token_hint=tokens["id_token"], post_logout_redirect_uri=BYE, logout_redirect_uri=BYE)
    )

    assert response["Location"] == BYE


def test_a_hint_of_another_client_than_the_named_one_is_a_page(signed_in, tokens, web_client):
    assert_page(signed_in.get(logout_url(id_token_hint=tokens["id_token"], client_id=web_client.client_id)))
    assert is_signed_in(signed_in)


def test_sixty_thousand_characters_are_a_page(signed_in):
    assert_page(signed_in.get(logout_url(state="x" * 60_000)), 414)


def test_head_changes_nothing(signed_in, tokens):
    response = signed_in.head(logout_url(id_token_hint=tokens["id_token"]))

    assert response.status_code == 200
    assert is_signed_in(signed_in)


def test_a_session_that_is_gone_or_has_no_refresh_token_is_no_obstacle(signed_in, tokens):
    RefreshToken.objects.all().delete()

    assert_page(signed_in.get(logout_url(id_token_hint=tokens["id_token"])), 200)
    assert not is_signed_in(signed_in)


def test_an_id_token_of_a_client_without_refresh_tokens(signed_in, application):
    application.refresh_tokens_enabled = False
    application.save()
    tokens = exchange(application, answer_of(signed_in.get(url(application)))["code"])

    assert_page(signed_in.get(logout_url(id_token_hint=tokens["id_token"])), 200)
    assert not is_signed_in(signed_in)


def test_an_id_token_without_a_session_is_still_a_hint(signed_in, application, user):
    application.refresh_tokens_enabled = False
    application.save()
    login = signed_in.session["django_ciam_token_login"]["at"][0]
    tokens = issue_tokens(
        client=application, user=user, auth_time=datetime.fromtimestamp(login, tz=datetime_timezone.utc)
    )
    assert "sid" not in claims_of(tokens["id_token"])

    assert_page(signed_in.get(logout_url(id_token_hint=tokens["id_token"])), 200)
    assert not is_signed_in(signed_in)


def test_a_session_that_was_ended_already_is_no_obstacle(signed_in, tokens):
    RefreshToken.objects.update(revoked_at=timezone.now())

    signed_in.get(logout_url(id_token_hint=tokens["id_token"]))

    assert not is_signed_in(signed_in)


def test_while_the_database_is_unavailable_the_user_stays_signed_in(signed_in, tokens, monkeypatch):
    monkeypatch.setattr("django_ciam_token.authorization.logout.revoke_session", refuse)

    assert_page(signed_in.get(logout_url(id_token_hint=tokens["id_token"])), 503)
    assert is_signed_in(signed_in)


def test_a_form_that_another_site_sent_without_cookies_is_repeated_as_a_get(signed_in, application):
    body = urlencode({"client_id": application.client_id, "post_logout_redirect_uri": BYE})

    response = signed_in.post(
        LOGOUT,
        body,
        content_type="application/x-www-form-urlencoded",
        HTTP_SEC_FETCH_SITE="cross-site",
    )

    assert response["Location"] == f"{LOGOUT}?{body}"


def test_neither_hint_nor_state_is_logged(signed_in, tokens, traces):
    signed_in.get(logout_url(id_token_hint=tokens["id_token"], state="nobody-may-see"))
    signed_in.get(logout_url(id_token_hint=tokens["id_token"], state="nobody-may-see", client_id="x"))

    assert "nobody-may-see" not in "\n".join(traces.logged)
