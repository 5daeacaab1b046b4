from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.test import RequestFactory, override_settings

from django_ciam_token.caller import Caller, queued_for, shown_path


def caller(*, address="192.0.2.1", user_agent=None):
    headers = {} if user_agent is None else {"User-Agent": user_agent}
    return Caller.of(RequestFactory().post("/oauth2/token", REMOTE_ADDR=address, headers=headers))


def last_forwarded_for(request):
    """What a site behind one proxy would write."""
    return request.headers["X-Forwarded-For"].split(",")[-1].strip()


def test_a_caller_is_an_address_and_a_user_agent():
    assert caller(user_agent="App/1.0 (iOS)") == Caller(address="192.0.2.1", user_agent="App/1.0 (iOS)")


def test_a_path_is_logged_in_one_line():
    request = RequestFactory().get("/orders/x%0AERROR%20all%20is%20lost%C3%A4")

    assert shown_path(request) == "/orders/x\\nERROR all is lost\\xe4"


def test_a_caller_may_be_unknown():
    assert Caller() == Caller(address=None, user_agent="")
    assert caller(user_agent=None).user_agent == ""


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::0001", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:0201", "192.0.2.1"),
        ("::192.0.2.1", "::c000:201"),
        ("", None),
        ("unix:", None),
        ("example.com", None),
        ("192.0.2.1:8080", None),
        ("192.0.2.256", None),
        (None, None),
    ],
)
def test_only_a_valid_address_is_stored(address, stored):
    assert caller(address=address).address == stored


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::", "2001:db8:0:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix:", ""),
    ],
)
def test_all_addresses_of_an_ipv6_network_are_one_place(address, network):
    assert caller(address=address).network == network


def test_a_request_without_an_address_has_none():
    request = RequestFactory().post("/oauth2/token")
    del request.META["REMOTE_ADDR"]

    assert Caller.of(request).address is None


def test_a_site_behind_a_proxy_can_tell_where_to_find_the_address():
    request = RequestFactory().post(
        "/oauth2/token",
        REMOTE_ADDR="10.0.0.1",
        headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.7"},
    )

    assert Caller.of(request).address == "10.0.0.1"
    with override_settings(CIAM_TOKEN={"CLIENT_ADDRESS": last_forwarded_for}):
        assert Caller.of(request).address == "198.51.100.7"
    with override_settings(CIAM_TOKEN={"CLIENT_ADDRESS": lambda request: None}):
        assert Caller.of(request).address is None


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200),
        ("Mozilla/5.0\x00\r\n\t(evil)\x7f", "Mozilla/5.0(evil)"),
        ("\x1b[31mred", "[31mred"),
        ("\x00" * 300 + "after", "after"),
        ("ümlaut ✓", "ümlaut ✓"),
        ("ümlaut ✓".encode().decode("latin-1"), "ümlaut ✓"),
        ("✓".encode().decode("latin-1") * 200, "✓" * 200),
        ("ümlaut", "ümlaut"),
        ("Ã ", "Ã "),
    ],
)
def test_a_user_agent_is_shortened_and_stripped_of_control_characters(sent, stored):
    assert caller(user_agent=sent).user_agent == stored


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("t=1700000000.000", 10),
        ("1700000000", 10),
        ("t=1700000000.5", 9.5),
        ("1700000000000", 10),
        ("t=1700000009999", 0.001),
        ("t=1700000000000000", 10),
        ("1699999000", 120),
        ("0", 120),
        ("1700000020", 0),
        ("99999999999999999999", 0),
        ("", 0),
        ("t=", 0),
        ("-5", 0),
        ("t=1e9", 0),
        ("yesterday", 0),
        ("t=1700000000, t=1600000000", 0),
    ],
)
def test_how_long_a_request_was_queued_is_what_the_proxy_says(header, seconds):
    now = datetime.fromtimestamp(1_700_000_010, tz=timezone.utc)
    request = RequestFactory().post("/oauth2/token", headers={"X-Request-Start": header})

    assert queued_for(request, now=now) == timedelta(0)
    with override_settings(CIAM_TOKEN={"REQUEST_START_HEADER": "X-Request-Start"}):
        assert queued_for(request, now=now).total_seconds() == pytest.approx(seconds)
        assert queued_for(RequestFactory().post("/oauth2/token"), now=now) == timedelta(0)
