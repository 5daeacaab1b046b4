"""Bodies as proxies and broken connections make them, sent through sockets to real servers."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest

pytestmark = pytest.mark.clients

FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


def refresh_form(service) -> bytes:
    client, tokens = service.first_tokens("web")
    credentials = {name: client[name] for name in ("client_id", "client_secret")}
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], **credentials}
    return urlencode(form).encode()


def connect(service) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(service.base_url).netloc, timeout=10)


def post(
    connection: http.client.HTTPConnection,
    body: bytes | Iterator[bytes],
    headers: Mapping[str, str] = FORM,
) -> tuple[int, dict[str, Any]]:
    connection.request(
        "POST", "/oauth2/token", body, dict(headers), encode_chunked=not isinstance(body, bytes)
    )
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def in_chunks(body: bytes, size: int = 50) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def test_a_form_in_chunks_is_answered_like_any_other(service):
    body = refresh_form(service)

    status, answer = post(connect(service), in_chunks(body), {**FORM, "Transfer-Encoding": "chunked"})

    assert status == 200, answer
    assert answer["token_type"] == "Bearer"


def test_a_connection_lives_on_after_a_body_that_was_refused(service):
    form, connection = refresh_form(service), connect(service)
    connection.connect()
    opened = connection.sock

    for refused, headers, status in (
        (b"{" + b" " * 300_000 + b"}", {"Content-Type": "application/json"}, 415),
        (b"a=" + b"x" * 300_000, FORM, 413),
        (in_chunks(b"a=" + b"x" * 300_000, 10_000), {**FORM, "Transfer-Encoding": "chunked"}, 413),
    ):
        assert post(connection, refused, headers)[0] == status
        assert post(connection, b"grant_type=none")[0] == 400
        assert connection.sock is opened

    assert post(connection, form)[0] == 200


@pytest.mark.parametrize("missing", [1, 60, 200])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_breaks_off_rotates_nothing(service, missing, chunked):
    body = refresh_form(service) + b"&scope=openid"
    kept = body[:-missing]
    address = urlsplit(service.base_url)
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    sent = b"%x\r\n%b\r\n" % (len(kept), kept) if chunked else kept
    head = b"POST /oauth2/token HTTP/1.1\r\nHost: 127.0.0.1\r\n" + framing
    with socket.create_connection((address.hostname, address.port), timeout=10) as broken:
        broken.sendall(head + b"\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n" + sent)
        broken.shutdown(socket.SHUT_WR)
        answered = b"".join(iter(lambda: broken.recv(65536), b""))

    # Some servers say so themselves, or just hang up.
    assert not answered or answered.split(b"\r\n")[0].split()[1] == b"400", answered
    assert b"invalid_grant" not in answered
    status, tokens = post(connect(service), body)
    assert status == 200, tokens
    replayed = post(connect(service), body)[1]
    assert replayed["refresh_token"] == tokens["refresh_token"]
