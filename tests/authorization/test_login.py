"""``prompt`` and ``max_age``: who must sign in again, and when it ends."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import pytest
import time_machine
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in
from django.test import Client as Browser
from django.utils import timezone

from tests.authorization.conftest import (
    AUTHORIZE,
    answer_of,
    assert_sent_back,
    claims_of,
    exchange,
    next_of,
    parameters,
    press,
    url,
)
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def test_nobody_signed_in_goes_to_the_login_page_and_on_from_there(browser, application, user):
    address = next_of(browser.get(url(application)))
    assert address == url(application)

    browser.force_login(user)

    assert "code" in answer_of(browser.get(address))


def test_prompt_none_never_shows_a_page(browser, application):
    answer = assert_sent_back(browser.get(url(application, prompt="none")), "login_required")

    assert set(answer) == {"error", "state", "iss"}


def test_prompt_none_gives_a_code_to_who_is_signed_in(signed_in, application):
    assert "code" in answer_of(signed_in.get(url(application, prompt="none")))


FRESH = [{"prompt": "login"}, {"prompt": "select_account"}, {"max_age": "0"}, {"prompt": "login consent"}]


@pytest.mark.parametrize("changes", FRESH[:3])
def test_a_fresh_login_is_asked_for_and_gives_one_code(signed_in, application, user, changes):
    address = next_of(signed_in.get(url(application, **changes)))

    signed_in.force_login(user)

    assert "code" in answer_of(signed_in.get(address))
    # The same request again needs another login.
    assert next_of(signed_in.get(address)) == address


@pytest.mark.parametrize("changes", FRESH)
def test_coming_back_without_a_login_ends_at_the_application(signed_in, application, changes):
    address = next_of(signed_in.get(url(application, **changes)))

    assert_sent_back(signed_in.get(address), "login_required")
    assert_sent_back(signed_in.get(url(application, **changes)), "login_required")


def test_a_denial_uses_the_login_up(signed_in, application, user):
    address = next_of(signed_in.get(url(application, prompt="login consent")))
    signed_in.force_login(user)

    assert_sent_back(press(signed_in, signed_in.get(address), "deny"), "access_denied")

    assert next_of(signed_in.get(address)) == address


@pytest.mark.parametrize("changes", FRESH[:3])
def test_a_login_before_the_request_does_not_count(signed_in, application, user, changes):
    signed_in.force_login(user)

    assert next_of(signed_in.get(url(application, **changes)))


@pytest.mark.parametrize("changes", FRESH[:3])
def test_somebody_else_may_sign_in(signed_in, application, changes):
    other = UserFactory()
    address = next_of(signed_in.get(url(application, **changes)))

    signed_in.force_login(other)  # It empties the session of the first one.

    tokens = exchange(application, answer_of(signed_in.get(address))["code"])
    assert claims_of(tokens["id_token"])["sub"] == str(other.pk)


@pytest.mark.parametrize("changes", FRESH[:3])
def test_who_was_not_signed_in_signs_in_once(browser, application, user, changes):
    address = next_of(browser.get(url(application, **changes)))

    browser.force_login(user)

    assert "code" in answer_of(browser.get(address))


def test_two_requests_that_began_before_the_login_both_end_well(browser, application, user):
    wanted = [{"prompt": "login", "state": "one"}, {"prompt": "login", "state": "two"}, {"state": "three"}]
    addresses = [next_of(browser.get(url(application, **changes))) for changes in wanted]

    browser.force_login(user)

    answers = [answer_of(browser.get(address)) for address in addresses]
    assert [answer["state"] for answer in answers] == ["one", "two", "three"]
    assert all("code" in answer for answer in answers)


def test_a_long_request_also_waits_for_its_login(signed_in, application):
    other = UserFactory()
    address = next_of(signed_in.get(url(application, prompt="login", state="x" * 2500)))
    assert len(address) < 200

    assert_sent_back(signed_in.get(address), "login_required")
    signed_in.force_login(other)

    assert answer_of(signed_in.get(address))["state"] == "x" * 2500


def test_max_age_counts_from_the_login(browser, application, user):
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        browser.force_login(user)
    with time_machine.travel(start + timedelta(minutes=5), tick=False):
        code = answer_of(browser.get(url(application, max_age="301")))["code"]
        assert claims_of(exchange(application, code)["id_token"])["auth_time"] == int(start.timestamp())
        assert_sent_back(browser.get(url(application, max_age="200", prompt="none")), "login_required")
        address = next_of(browser.get(url(application, max_age="200")))
        browser.force_login(user)
        assert "code" in answer_of(browser.get(address))
        assert "code" in answer_of(browser.get(address)), "the login is recent now"


def test_a_fresh_login_counts_although_a_short_max_age_has_passed_on_the_way_back(browser, application, user):
    start = timezone.now()
    address = next_of(browser.get(url(application, max_age="1")))
    with time_machine.travel(start, tick=False):
        browser.force_login(user)
    with time_machine.travel(start + timedelta(seconds=30), tick=False):
        assert "code" in answer_of(browser.get(address))


def test_the_login_page_may_take_an_hour_and_not_longer(signed_in, application, user):
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        address = next_of(signed_in.get(url(application, prompt="login")))
    with time_machine.travel(start + timedelta(minutes=61), tick=False):
        signed_in.force_login(user)
        assert next_of(signed_in.get(address)) == address


def cookies_of(browser):
    return {name: cookie for name, cookie in browser.cookies.items() if name.startswith("ciam_login")}


def test_the_mark_is_for_this_endpoint_alone_and_goes_with_the_answer(signed_in, application, user):
    signed_in.get(url(application, prompt="login"))

    [mark] = cookies_of(signed_in).values()
    assert mark["path"] == AUTHORIZE
    assert mark["httponly"]
    assert mark["samesite"] == "Lax"
    assert 0 < mark["max-age"] <= 3600
    signed_in.force_login(user)
    signed_in.get(url(application, prompt="login"))
    assert [cookie.value for cookie in cookies_of(signed_in).values()] == [""]


def test_the_mark_is_secure_over_https(application):
    browser = Browser()
    browser.get(url(application, prompt="login"), secure=True)

    assert all(mark["secure"] for mark in cookies_of(browser).values())


@pytest.mark.parametrize("kind", ["forged", "of_another_request", "nonsense"])
def test_a_mark_that_was_not_made_for_the_request_does_not_count(signed_in, application, user, kind):
    signed_in.get(url(application, prompt="login", state="another"))
    [other] = cookies_of(signed_in).values()
    signed_in.get(url(application, prompt="login"))
    [name] = [name for name, cookie in cookies_of(signed_in).items() if cookie is not other]
    asked_at, _, mac = signed_in.cookies[name].value.split(".")
    value = {
        "forged": f"{asked_at}.{'0' * 16}.{mac}",
        "of_another_request": other.value,
        "nonsense": "1.2.3",
    }[kind]
    signed_in.cookies[name] = value

    assert next_of(signed_in.get(url(application, prompt="login")))


def test_an_old_login_that_a_browser_kept_back_is_no_new_one(signed_in, application):
    """As with a form of another site, in a browser that does not say that it is one."""
    cookie = signed_in.cookies.pop("sessionid")
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        address = next_of(signed_in.get(url(application, prompt="login")))
        signed_in.cookies["sessionid"] = cookie.value

        assert_sent_back(signed_in.get(address), "login_required")


def test_a_mark_survives_the_replacement_of_a_secret(signed_in, application, user, settings):
    signed_in.get(url(application, prompt="login"))
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "n" * 50
    signed_in.force_login(user)

    assert "code" in answer_of(signed_in.get(url(application, prompt="login")))


def test_an_id_token_hint_of_somebody_else_with_prompt_none(signed_in, application, user):
    tokens = exchange(application, answer_of(signed_in.get(url(application)))["code"])
    mine = {"id_token_hint": tokens["id_token"]}
    assert "code" in answer_of(signed_in.get(url(application, prompt="none", **mine)))
    assert next_of(signed_in.get(url(application, prompt="login", **mine)))

    signed_in.force_login(UserFactory())

    assert_sent_back(signed_in.get(url(application, prompt="none", **mine)), "login_required")
    assert "code" in answer_of(signed_in.get(url(application, **mine)))
    # An access token is no id_token, and what is forged says nothing.
    for other in (tokens["access_token"], tokens["id_token"][:-4] + "AAAA", "a.b.c"):
        assert "code" in answer_of(signed_in.get(url(application, prompt="none", id_token_hint=other)))


# Logins that are not on record


def without_record(browser, user):
    """As a session that began before this app was installed."""
    session = browser.session
    del session["django_ciam_token_login"]
    session.save()


def test_auth_time_of_a_login_that_is_not_on_record_is_that_of_the_users_last(signed_in, application, user):
    without_record(signed_in, user)
    user.last_login = timezone.now() - timedelta(days=2)
    user.save()

    code = answer_of(signed_in.get(url(application)))["code"]

    claims = claims_of(exchange(application, code)["id_token"])
    assert claims["auth_time"] == int(user.last_login.timestamp())
    assert next_of(signed_in.get(url(application, max_age="3600")))


def test_a_login_that_nobody_told_of_is_no_fresh_one_and_does_not_loop(signed_in, application, user):
    without_record(signed_in, user)
    user.last_login = None
    user.save()
    assert "code" in answer_of(signed_in.get(url(application)))

    address = next_of(signed_in.get(url(application, prompt="login")))

    assert_sent_back(signed_in.get(address), "login_required")


def test_a_site_whose_logins_send_no_signal_can_still_sign_people_in_afresh(browser, application, user):
    address = next_of(browser.get(url(application, prompt="login")))
    browser.force_login(user)
    without_record(browser, user)

    assert "code" in answer_of(browser.get(address))


def test_a_login_without_a_session_is_none_of_our_business(user, rf):
    user_logged_in.send(sender=type(user), request=None, user=user)
    user_logged_in.send(sender=type(user), request=rf.get("/"), user=user)


def test_a_session_keeps_a_bounded_number_of_logins(signed_in, user):
    for _ in range(30):
        signed_in.force_login(user)

    assert len(signed_in.session["django_ciam_token_login"]["at"]) == 20
    assert signed_in.session[SESSION_KEY] == str(user.pk)


@pytest.mark.parametrize("changes", [{}, {"prompt": "login"}])
def test_a_form_waits_for_a_login_as_well(browser, application, user, changes):
    body = urlencode(parameters(application, **changes))
    response = browser.post(AUTHORIZE, body, content_type="application/x-www-form-urlencoded")
    browser.force_login(user)

    assert "code" in answer_of(browser.get(next_of(response)))


def test_auth_time_without_time_zones(browser, application, user, settings):
    settings.USE_TZ = False
    browser.force_login(user)

    from django_ciam_token.authorization.login import Login

    assert Login(identifier="x", moments=(0,)).auth_time.tzinfo is None


def test_no_other_site_fills_a_browser_with_marks(signed_in, application, user):
    requests = [url(application, prompt="login", state=str(number)) for number in range(30)]
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for request in requests:
            clock.shift(1)
            signed_in.get(request)
        # The same request has one mark, however often it comes.
        signed_in.get(requests[-1])

        kept = [name for name, cookie in signed_in.cookies.items() if "ciam_login_" in name and cookie.value]
        assert len(kept) == 10
        clock.shift(1)
        signed_in.force_login(user)
        assert [answer_of(signed_in.get(request))["state"] for request in requests[-10:]] == [
            str(number) for number in range(20, 30)
        ]
        # A request whose mark had to go is asked for a login once more.
        assert next_of(signed_in.get(requests[0])) == requests[0]
