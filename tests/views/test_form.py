from __future__ import annotations

from io import BytesIO
from urllib.parse import quote, urlencode

import pytest
from django.test import AsyncRequestFactory, RequestFactory
from django.test import Client as Browser
from rest_framework.request import Request

from django_ciam_token.errors import ContentTooLarge, InvalidRequest, OAuthError, UnsupportedContent
from django_ciam_token.views.body import LARGEST_BODY
from django_ciam_token.views.form import StrictFormParser, parse_form, read_form
from tests.conftest import TOKEN_URL, post_form
from tests.views.conftest import FORM, assert_error, assert_still_valid


def parse(body, *, content_type=FORM, **headers):
    request = RequestFactory().generic("POST", "/oauth2/token", body, content_type, headers=headers)
    return StrictFormParser().parse(BytesIO(body), content_type, {"request": Request(request)})


def refusal(body, **how):
    with pytest.raises(OAuthError) as caught:
        parse(body, **how)
    return caught.value


@pytest.mark.parametrize(
    ("body", "parameters"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1&&b=2&", {"a": "1", "b": "2"}),
        (b"a=", {}),
        (b"a", {}),
        (b"a=&b=2", {"b": "2"}),
        (b"a=x+y%20z", {"a": "x y z"}),
        (b"a=%2B%26%3D", {"a": "+&="}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"%61=1", {"a": "1"}),
        (b"a=%C3%BC", {"a": "ü"}),
        ("a=ü".encode(), {"a": "ü"}),
        (b"a=%zz", {"a": "%zz"}),
        (b"a=%F0%9F%94%91", {"a": "🔑"}),
        (b"=1", {"": "1"}),
    ],
)
def test_a_form_is_read_into_the_parameters_that_have_a_value(body, parameters):
    assert parse_form(body) == parameters
    assert parse(body) == parameters


@pytest.mark.parametrize("body", [b"a=1&a=1", b"a=1&a=2", b"a=&a=1", b"a=1&a=", b"a&a", b"a=1&%61=2"])
def test_a_repeated_parameter_is_refused_even_if_empty_or_equal(body):
    error = refusal(body)

    assert type(error) is InvalidRequest
    assert error.reason == "repeated_parameter"
    assert error.members() == {
        "error": "invalid_request",
        "error_description": "a is repeated; send it once",
    }


def test_parameter_names_are_case_sensitive():
    assert parse_form(b"a=1&A=2") == {"a": "1", "A": "2"}


@pytest.mark.parametrize("name", ["resource", "audience"])
def test_parameters_that_other_rfcs_allow_to_repeat_may_be_repeated(name):
    assert parse_form(f"{name}=1&{name}=2".encode()) == {name: "2"}


@pytest.mark.parametrize(
    ("name", "shown"), [("n" * 40, "n" * 40), ("n" * 41, "a parameter"), ('a"b', "a?b"), ("ü", "?")]
)
def test_a_repeated_name_is_shown_unless_it_is_too_long(name, shown):
    error = refusal(f"{name}=1&{name}=2".encode())

    assert error.description == f"{shown} is repeated; send it once"


@pytest.mark.parametrize("body", [b"a=\xff", b"a=%FF", b"%FF=1", b"a=%C3", b"a=%ED%A0%80"])
def test_a_form_that_is_not_utf_8_is_refused(body):
    error = refusal(body)

    assert (type(error), error.reason) == (InvalidRequest, "invalid_utf8")
    assert error.description == "the form is not valid UTF-8"


@pytest.mark.parametrize("body", [b"a=%00", b"a=1%002", b"%00=1", b"a=\x00"])
def test_a_nul_is_refused(body):
    # PostgreSQL can't store text that contains a NUL.
    error = refusal(body)

    assert (type(error), error.reason) == (InvalidRequest, "nul")
    assert error.description == "the form has a NUL character; remove it"


def test_a_form_may_have_a_hundred_parameters_and_no_more():
    hundred = "&".join(f"p{number}=1" for number in range(100)).encode()

    assert len(parse_form(hundred)) == 100
    error = refusal(hundred + b"&p100=1")
    assert (type(error), error.reason) == (InvalidRequest, "too_many_fields")
    assert error.description == "the form has more than 100 parameters"


def test_a_form_may_have_16_kib_and_no_more():
    largest = b"a=" + b"x" * (LARGEST_BODY - 2)

    assert parse(largest) == {"a": "x" * (16 * 1024 - 2)}
    error = refusal(largest + b"x")
    assert (type(error), error.reason, error.status) == (ContentTooLarge, "body_too_large", 413)
    assert error.members()["error"] == "invalid_request"


def test_a_form_that_is_longer_than_its_content_length_is_refused():
    # Under ASGI, the end of the body does not depend on the Content-Length.
    request = AsyncRequestFactory().generic("POST", "/oauth2/token", b"a=" + b"x" * LARGEST_BODY, FORM)
    request.META["CONTENT_LENGTH"] = "3"

    with pytest.raises(ContentTooLarge):
        read_form(request)


@pytest.mark.parametrize(
    "content_type", [FORM, f"{FORM};charset=utf-8", f"{FORM}; charset=UTF-8", f"{FORM}; charset=utf8"]
)
def test_the_charset_utf_8_may_be_named(content_type):
    assert parse(b"a=1", content_type=content_type) == {"a": "1"}


@pytest.mark.parametrize(
    "charset",
    ["us-ascii", "ascii", "ISO-8859-1", "iso8859-1", "latin1", "iso-8859-15", "windows-1252", "cp1252"],
)
def test_a_charset_that_is_like_utf_8_for_this_form_may_be_named(charset):
    assert parse(b"a=1&b=%2B", content_type=f"{FORM}; charset={charset}") == {"a": "1", "b": "+"}


@pytest.mark.parametrize("body", [b"a=%C3%BC", "a=ü".encode(), b"%C3%BC=1"])
def test_a_charset_that_differs_from_utf_8_for_this_form_is_refused(body):
    error = refusal(body, content_type=f"{FORM}; charset=ISO-8859-1")

    assert (type(error), error.reason, error.status) == (UnsupportedContent, "wrong_charset", 415)


@pytest.mark.parametrize("charset", ["utf-16", "no-such-charset"])
def test_another_charset_is_refused(charset):
    error = refusal(b"a=1", content_type=f"{FORM}; charset={charset}")

    assert (type(error), error.reason, error.status) == (UnsupportedContent, "wrong_charset", 415)
    assert error.description == "encode the form as UTF-8"


def test_the_content_encoding_identity_is_accepted():
    assert parse(b"a=1", **{"Content-Encoding": "Identity"}) == {"a": "1"}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_compressed_body_is_refused(encoding):
    error = refusal(b"a=1", **{"Content-Encoding": encoding})

    assert (type(error), error.reason, error.status) == (UnsupportedContent, "compressed_body", 415)
    assert error.description == "do not compress the form"


# Over HTTP, at the token endpoint


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["resource", "audience"])
def test_a_form_may_repeat_parameters_that_later_rfcs_allow_to_repeat(form, name):
    assert post_form([*form.items(), (name, "a"), (name, "b")]).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name", ["grant_type", "client_id", "client_secret", "refresh_token", "scope", "x-unknown"]
)
def test_a_repeated_parameter_is_named(form, name):
    response = post_form([*form.items(), (name, form.get(name, "openid")), (name, "other")])

    assert_error(response, 400, "invalid_request", description=f"{name} is repeated")
    assert_still_valid(form)


@pytest.mark.django_db
def test_a_very_long_repeated_name_is_not_echoed(form):
    response = post_form([*form.items(), ("n" * 50, "1"), ("n" * 50, "2")])

    assert_error(response, 400, "invalid_request", description="a parameter is repeated")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "content_type", "status", "description"),
    [
        ('{"grant_type": "refresh_token"}', "application/json", 415, "send a form"),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 415, "send a form"),
        ("a=b", "text/plain", 415, "send a form"),
        ("a=b", FORM + "; charset=utf-16", 415, "UTF-8"),
        (b"grant_type=\xff", FORM, 400, "not valid UTF-8"),
        ("grant_type=%ff", FORM, 400, "not valid UTF-8"),
        ("grant_type=refresh_token&x=%00", FORM, 400, "NUL"),
        ("grant_type=refresh_token&%00=x", FORM, 400, "NUL"),
        ("&".join(f"p{n}=1" for n in range(101)), FORM, 400, "more than 100"),
        ("a=" + "b" * 16384, FORM, 413, "16 KiB"),
        ("", FORM, 400, "grant_type is missing"),
        ('{"grant_type": "refresh_token"}', FORM, 400, "grant_type is missing"),
    ],
)
def test_a_body_that_is_not_a_valid_form_is_refused(body, content_type, status, description):
    response = Browser().post(TOKEN_URL, body, content_type=content_type)

    assert_error(response, status, "invalid_request", description=description)


@pytest.mark.django_db
def test_a_body_of_exactly_16_kib_is_read(form):
    length = len("&".join(f"{name}={quote(value)}" for name, value in form.items()))

    assert post_form({**form, "x": "y" * (16 * 1024 - length - len("&x="))}).status_code == 200


@pytest.mark.django_db
def test_a_compressed_body_is_answered_415(form):
    response = post_form(form, HTTP_CONTENT_ENCODING="gzip")

    assert_error(response, 415, "invalid_request", description="compress")


@pytest.mark.django_db
def test_the_case_of_the_content_type_does_not_matter(form):
    response = Browser().post(TOKEN_URL, urlencode(form), content_type=FORM.upper())

    assert response.status_code == 200


@pytest.mark.django_db
def test_a_content_length_that_is_not_a_number_counts_as_none(form):
    response = Browser().generic("POST", TOKEN_URL, urlencode(form), FORM, CONTENT_LENGTH="x")

    assert_error(response, 400, "invalid_request", description="grant_type is missing")


@pytest.mark.django_db
def test_a_body_in_chunks_must_be_sent_with_a_length(form):
    response = Browser().generic(
        "POST", TOKEN_URL, content_type=FORM, HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH=""
    )

    assert_error(response, 411, "invalid_request", description="Content-Length")
