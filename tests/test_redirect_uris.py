"""Which addresses may be registered, and which match."""

from __future__ import annotations

import re

import pytest
from django.core.exceptions import ValidationError

from django_ciam_token.models import Client
from django_ciam_token.models.redirect_uris import PATTERNS, check_redirect_uri, matches

EVERYWHERE = [
    "https://app.example.com",
    "https://app.example.com/",
    "https://app.example.com/callback?tenant=a&x=%20",
    "https://app.example.com:8443/callback",
    "https://[2001:db8::1]/callback",
    "http://127.0.0.1/callback",
    "http://127.0.0.1:8123/callback",
    "http://[::1]:1/",
    "http://localhost:3000/callback",
]
PRIVATE_USE = [
    "com.example.app:/callback",
    "com.example.app://callback",
    "com.example.my-app:/redirect",
]
NOWHERE = [
    "app.example.com/callback",
    "//app.example.com/callback",
    "/callback",
    "http://app.example.com/callback",
    "http://127.0.0.1.example.com/callback",
    "http://localhost.example.com/",
    "https://",
    "https:///callback",
    "https:app.example.com",
    "https://*.example.com/callback",
    "https://app.example.com/*",
    "https://app.example.com/callback#",
    "https://app.example.com/callback#fragment",
    "https://user@app.example.com/callback",
    "https://user:password@app.example.com/callback",
    "https://app.example.com\\@evil.example/",
    "https://app.example.com:port/",
    "https://app.example.com:99999/",
    "https://APP.example.com/",
    "https://[::1",
    "https://b\u00fccher.example/",
    "https://app.example.com/\x00",
    "javascript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "app:/callback",
    "com.example.app:",
    "com.example.app:?x",
    "HTTPS://app.example.com/",
    "https://app.example.com/" + "x" * 2000,
]


@pytest.mark.parametrize("application_type", ["web", "spa", "mobile", None])
@pytest.mark.parametrize("uri", EVERYWHERE)
def test_an_address_that_any_application_may_have(uri, application_type):
    check_redirect_uri(uri, application_type=application_type)


@pytest.mark.parametrize("uri", PRIVATE_USE)
def test_only_a_mobile_application_may_have_a_scheme_of_its_own(uri):
    check_redirect_uri(uri, application_type="mobile")
    check_redirect_uri(uri)
    for application_type in ("web", "spa"):
        with pytest.raises(ValidationError, match="for mobile applications only"):
            check_redirect_uri(uri, application_type=application_type)


@pytest.mark.parametrize("uri", NOWHERE)
def test_an_address_that_no_application_may_have(uri):
    for application_type in ("web", "spa", "mobile", None):
        with pytest.raises(ValidationError):
            check_redirect_uri(uri, application_type=application_type)


def test_a_machine_has_no_addresses():
    with pytest.raises(ValidationError, match="signs nobody in"):
        check_redirect_uri(EVERYWHERE[0], application_type="m2m")


@pytest.mark.django_db
@pytest.mark.parametrize("field", ["redirect_uris", "post_logout_redirect_uris"])
def test_the_fields_of_a_client_are_checked_by_its_type(field):
    client = Client(name="App", application_type="spa", **{field: "https://a.example/ com.example.app:/"})
    with pytest.raises(ValidationError) as caught:
        client.full_clean()

    assert list(caught.value.message_dict) == [field]
    client.application_type = "mobile"
    client.full_clean()


@pytest.mark.parametrize(
    ("registered", "presented"),
    [
        ("https://app.example.com/callback", "https://app.example.com/callback"),
        ("http://127.0.0.1/callback", "http://127.0.0.1:49152/callback"),
        ("http://127.0.0.1:1/callback", "http://127.0.0.1:49152/callback"),
        ("http://127.0.0.1:1/callback", "http://127.0.0.1/callback"),
        ("http://[::1]/?a=b", "http://[::1]:5/?a=b"),
        ("http://127.0.0.1", "http://127.0.0.1:7"),
    ],
)
def test_what_matches(registered, presented):
    assert matches(registered, presented)


@pytest.mark.parametrize(
    ("registered", "presented"),
    [
        ("https://app.example.com/callback", "https://app.example.com/callback/"),
        ("https://app.example.com/callback", "https://app.example.com/callback?x=1"),
        ("https://app.example.com/callback", "https://app.example.com/Callback"),
        ("https://app.example.com/callback", "https://app.example.com:443/callback"),
        ("https://127.0.0.1/callback", "https://127.0.0.1:8/callback"),
        ("http://localhost:3000/callback", "http://localhost:3001/callback"),
        ("http://127.0.0.1/callback", "http://127.0.0.1:5/other"),
        ("http://127.0.0.1/callback", "http://[::1]:5/callback"),
        ("http://127.0.0.1/callback", "http://127.0.0.1:5@evil.example/callback"),
        ("http://127.0.0.1/callback", "http://127.0.0.1.evil.example/callback"),
        ("http://127.0.0.1/callback", "http://127.0.0.1:123456/callback"),
        ("http://127.0.0.1/callback", "http://127.0.0.1:5\\@evil.example/callback"),
        ("http://127.0.0.1/callback", "http://127.0.0.1:5/callback#"),
        ("http://127.0.0.1", "http://127.0.0.1:5#/"),
        ("https://app.example.com/callback", "http://127.0.0.1/callback"),
        ("http://127.0.0.1/callback", "https://app.example.com/callback"),
    ],
)
def test_what_does_not_match(registered, presented):
    assert not matches(registered, presented)


def test_a_client_has_what_is_registered_for_it_and_nothing_else():
    client = Client(
        redirect_uris="https://a.example/ http://127.0.0.1/cb", post_logout_redirect_uris="https://o.example/"
    )

    assert client.has_redirect_uri("https://a.example/")
    assert client.has_redirect_uri("http://127.0.0.1:5/cb")
    assert not client.has_redirect_uri("https://o.example/")
    assert client.has_post_logout_redirect_uri("https://o.example/")
    assert not client.has_post_logout_redirect_uri("https://a.example/")
    assert not Client().has_redirect_uri("")


@pytest.mark.parametrize(
    ("application_type", "switch", "granted"),
    [
        ("m2m", False, True),
        ("web", True, True),
        ("web", False, False),
        ("spa", True, False),
        ("mobile", True, False),
    ],
)
def test_who_may_get_tokens_for_itself(application_type, switch, granted):
    client = Client(application_type=application_type, may_use_client_credentials=switch)

    assert client.grants_client_credentials is granted


@pytest.mark.parametrize(
    ("application_type", "switch", "needed"),
    [("web", False, False), ("web", True, True), ("spa", False, True), ("mobile", False, True)],
)
def test_who_must_use_pkce(application_type, switch, needed):
    assert Client(application_type=application_type, requires_pkce=switch).must_use_pkce is needed


def test_every_wrong_line_gets_one_message():
    lines = ["https://a.example/", "ftp://b.example/", "com.example.app:/", "http://c.example/"]
    client = Client(name="App", application_type="spa", redirect_uris="\r\n".join(lines))
    client.allowed_origins = "https://a.example/ https://b.example HTTPS://c.example"

    with pytest.raises(ValidationError) as caught:
        client.full_clean(validate_unique=False, validate_constraints=False)

    messages = caught.value.message_dict
    assert sorted(message.split()[0] for message in messages["redirect_uris"]) == sorted(lines[1:])
    origins = [message.split()[0] for message in messages["allowed_origins"]]
    assert origins == ["https://a.example/", "HTTPS://c.example"]


def test_what_a_page_checks_while_one_types_accepts_all_that_may_be_registered():
    for application_type in ("web", "spa", "mobile"):
        possible = [*EVERYWHERE, *(PRIVATE_USE if application_type == "mobile" else [])]
        assert all(re.fullmatch(PATTERNS[application_type], uri) for uri in possible)
        refused = [
            "http://app.example.com/",
            "https://a.example/*",
            "callback",
            "https://a.example/#x",
            "app:/",
        ]
        assert not any(re.fullmatch(PATTERNS[application_type], uri) for uri in refused)
    assert not any(re.fullmatch(PATTERNS["spa"], uri) for uri in PRIVATE_USE)
    assert not re.fullmatch(PATTERNS["m2m"], EVERYWHERE[0])
