"""Bodies with and without a length, too long and too short, under WSGI and ASGI."""

from __future__ import annotations

from io import BytesIO
from urllib.parse import urlencode

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http.request import RawPostDataException, UnreadablePostError
from django.test import RequestFactory

from django_ciam_token.errors import ContentTooLarge, InvalidRequest, LengthRequired, UnsupportedContent
from django_ciam_token.models import RefreshToken
from django_ciam_token.views.body import LARGEST_BODY
from django_ciam_token.views.form import forget_body, read_form
from tests.conftest import TOKEN_URL
from tests.views.conftest import FORM, assert_still_valid


class Stream(BytesIO):
    """A server's stream, which gives no more than a few bytes at a time and counts them."""

    def __init__(self, body, *, at_once=100_000):
        super().__init__(body)
        self.at_once = at_once

    def read(self, size=-1):
        return super().read(min(size, self.at_once) if size >= 0 else size)


class Broken(Stream):
    def read(self, size=-1):
        raise OSError("the client hung up")


def wsgi(stream, *, length=None, terminated=False, content_type=FORM, **environ):
    environ = RequestFactory()._base_environ(REQUEST_METHOD="POST", PATH_INFO=TOKEN_URL, **environ)
    environ |= {"wsgi.input": stream, "CONTENT_TYPE": content_type}
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    if terminated:
        environ["wsgi.input_terminated"] = True
    return WSGIRequest(environ)


def asgi(body, *, length=None, content_type=FORM):
    headers = [(b"content-type", content_type.encode())] if content_type else []
    headers += [] if length is None else [(b"content-length", str(length).encode())]
    scope = {"type": "http", "method": "POST", "path": TOKEN_URL, "query_string": b"", "headers": headers}
    return ASGIRequest(scope, BytesIO(body))


def chunked(stream, **how):
    return wsgi(stream, terminated=True, HTTP_TRANSFER_ENCODING="chunked", **how)


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_a_body_is_read_to_its_length_however_the_server_hands_it_out(at_once):
    assert read_form(wsgi(Stream(b"a=123&b=4", at_once=at_once), length=9)) == {"a": "123", "b": "4"}


def test_a_body_without_a_length_is_read_under_asgi():
    assert read_form(asgi(b"a=1")) == {"a": "1"}
    assert read_form(asgi(b"")) == {}
    assert read_form(asgi(b"", content_type="")) == {}


def test_a_body_without_a_length_is_read_if_the_wsgi_server_marks_its_end():
    assert read_form(chunked(Stream(b"a=1", at_once=1))) == {"a": "1"}
    assert read_form(chunked(Stream(b""))) == {}
    assert read_form(chunked(Stream(b""), content_type="")) == {}


def test_a_body_whose_end_nobody_marks_must_have_a_length():
    with pytest.raises(LengthRequired):
        read_form(wsgi(Stream(b"a=1"), HTTP_TRANSFER_ENCODING="chunked"))
    assert read_form(wsgi(Stream(b"a=1"))) == {}


@pytest.mark.parametrize("request_of", [asgi, lambda body: chunked(Stream(body))])
def test_a_body_without_a_length_may_have_16_kib_and_no_more(request_of):
    largest = b"a=" + b"x" * (LARGEST_BODY - 2)

    assert len(read_form(request_of(largest))["a"]) == LARGEST_BODY - 2
    with pytest.raises(ContentTooLarge):
        read_form(request_of(largest + b"x"))
    with pytest.raises(UnsupportedContent):
        read_form(asgi(b"{}", content_type="application/json"))


@pytest.mark.parametrize("request_of", [asgi, lambda body, length: wsgi(Stream(body), length=length)])
def test_a_body_that_is_shorter_than_its_length_is_refused(request_of):
    with pytest.raises(InvalidRequest) as caught:
        read_form(request_of(b"refresh_token=abc", length=18))

    assert caught.value.reason == "truncated_body"
    assert caught.value.members() == {
        "error": "invalid_request",
        "error_description": "the form is shorter than its Content-Length",
    }


def test_a_body_that_middleware_has_read_is_checked_too():
    request = wsgi(Stream(b"a=1"), length=4)
    assert request.body == b"a=1"

    with pytest.raises(InvalidRequest) as caught:
        read_form(request)
    assert caught.value.reason == "truncated_body"


def test_a_stream_that_middleware_has_consumed_is_an_error_of_the_site():
    request = wsgi(Stream(b"a=1"), length=3)
    request.read()

    with pytest.raises(RawPostDataException):
        read_form(request)


def test_a_broken_connection_is_no_error_of_the_service():
    with pytest.raises(UnreadablePostError):
        read_form(wsgi(Broken(b""), length=3))


def test_the_limit_does_not_depend_on_the_site(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10

    assert read_form(wsgi(Stream(b"a=12345678901"), length=13)) == {"a": "12345678901"}


@pytest.mark.parametrize(
    ("stream", "left"),
    [(Stream(b"x" * 300_000), 0), (Stream(b"x" * 3_000_000), 3_000_000 - 1024 * 1024), (Broken(b""), 0)],
)
@pytest.mark.parametrize("content_type", [FORM, "application/json"])
def test_the_rest_of_a_refused_body_is_read_within_bounds(stream, left, content_type):
    stream.seek(0)
    request = wsgi(stream, length=4_000_000, content_type=content_type)

    with pytest.raises(InvalidRequest):
        read_form(request)
    # The last chunk may go beyond the bound.
    assert left - 64 * 1024 < len(stream.getvalue()) - stream.tell() <= left


def test_a_refused_body_in_chunks_is_read_to_its_end():
    stream = Stream(b"x" * 300_000)

    with pytest.raises(ContentTooLarge):
        read_form(chunked(stream))
    assert stream.tell() == 300_000


@pytest.mark.parametrize("request_of", [asgi, lambda body, **how: wsgi(Stream(body), **how)])
@pytest.mark.parametrize("content_type", [FORM, f"{FORM}; charset=UTF-8", f"{FORM}; charset=ISO-8859-1"])
@pytest.mark.parametrize("was_read", [False, True])
def test_once_the_form_is_read_it_is_nowhere_else(request_of, content_type, was_read):
    request = request_of(b"refresh_token=abc&a=1", length=21, content_type=content_type)
    if was_read and "8859" not in content_type:  # Django does not read such a form.
        assert request.POST["refresh_token"] == "abc"

    form = read_form(request)

    assert form["refresh_token"] == "abc"
    assert read_form(request) is form
    assert request.body == b""
    assert (dict(request.POST), dict(request.FILES)) == ({}, {})


@pytest.mark.parametrize("content_type", [FORM, "multipart/form-data; boundary=x", "application/json", ""])
def test_a_body_that_was_refused_unread_is_forgotten(content_type):
    request = wsgi(Stream(b"refresh_token=abc"), length=17, content_type=content_type)

    forget_body(request)

    assert (request.body, dict(request.POST)) == (b"", {})
    with pytest.raises(InvalidRequest):
        read_form(request)


def test_a_form_that_was_read_is_not_forgotten():
    request = wsgi(Stream(b"a=1"), length=3)
    read_form(request)

    forget_body(request)

    assert read_form(request) == {"a": "1"}


# Over the handlers of Django


def answer_of_asgi(body, *messages):
    """Send a body in these messages, without a Content-Length, and return the status of the answer."""
    sent = []
    incoming = [*messages, {"type": "http.disconnect"}]

    async def receive():
        return incoming.pop(0) if len(incoming) > 1 else await never()

    async def never():
        import asyncio

        await asyncio.sleep(10)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": TOKEN_URL,
        "query_string": b"",
        "headers": [(b"content-type", FORM.encode()), (b"transfer-encoding", b"chunked")],
    }
    async_to_sync(ASGIHandler())(scope, receive, send)
    return sent[0]["status"]


@pytest.mark.django_db(transaction=True)
def test_a_refresh_in_chunks_works_under_asgi(form):
    body = urlencode(form).encode()
    chunks = [body[:20], body[20:100], body[100:]]

    status = answer_of_asgi(
        body,
        *({"type": "http.request", "body": chunk, "more_body": chunk != chunks[-1]} for chunk in chunks),
    )

    assert status == 200
    assert RefreshToken.objects.get().generation == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("missing", [1, 10, 60])
def test_a_refresh_that_breaks_off_rotates_nothing(form, missing):
    body = urlencode({**form, "scope": "openid"}).encode()
    environ = wsgi(Stream(body[:-missing]), length=len(body)).environ
    statuses = []

    answer = b"".join(WSGIHandler()(environ, lambda status, headers: statuses.append(status)))

    assert statuses == ["400 Bad Request"]
    assert b'"invalid_request"' in answer
    assert RefreshToken.objects.get().generation == 0
    assert_still_valid(form)
