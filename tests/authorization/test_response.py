"""The ways back to the application."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from django_ciam_token.authorization.response import with_parameters
from tests.authorization.conftest import (
    CALLBACK,
    STATE,
    assert_headers,
    assert_sent_back,
    exchange,
    form_of,
    url,
)


@pytest.mark.parametrize(
    ("uri", "parameters", "wanted"),
    [
        ("https://a/cb", {"a": "b c&d"}, "https://a/cb?a=b+c%26d"),
        ("https://a/cb?x=%2F", {"a": "ä"}, "https://a/cb?x=%2F&a=%C3%A4"),
        ("https://a/cb?x&", {"a": "b"}, "https://a/cb?x&a=b"),
        ("https://a/cb?", {}, "https://a/cb?"),
        ("com.example.app:/cb", {"a": "b"}, "com.example.app:/cb?a=b"),
    ],
)
def test_parameters_are_added_to_an_address(uri, parameters, wanted):
    assert with_parameters(uri, parameters) == wanted


@pytest.mark.django_db
def test_a_line_break_can_not_end_the_header(signed_in, application):
    response = signed_in.get(url(application, state="a\r\nSet-Cookie: x=y", prompt="none"))

    assert response.status_code == 302
    assert "Set-Cookie%3A" in response["Location"]


@pytest.mark.django_db
class TestFormPost:
    def test_the_answer_is_a_form_that_sends_itself(self, signed_in, application):
        response = signed_in.get(url(application, response_mode="form_post", state=f'"><script>{STATE}'))

        action, fields = form_of(response)
        text = response.content.decode()
        assert response.status_code == 200
        assert_headers(response)
        assert action == CALLBACK
        assert list(fields) == ["code", "state", "iss"]
        assert fields["state"] == f'"><script>{STATE}'
        assert '"><script>' not in text
        assert exchange(application, fields["code"])["scope"] == "openid"
        assert "<button" in text

    def test_its_policy_allows_exactly_its_script(self, signed_in, application):
        response = signed_in.get(url(application, response_mode="form_post"))

        [script] = re.findall(r"<script>(.*?)</script>", response.content.decode())
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = response["Content-Security-Policy"]
        assert f"script-src 'sha256-{digest}';" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy

    def test_an_error_comes_back_in_the_same_way(self, signed_in, application):
        response = signed_in.get(url(application, response_mode="form_post", scope="admin"))

        _, fields = form_of(response)
        assert (fields["error"], fields["state"]) == ("invalid_scope", STATE)
        assert "code" not in fields

    def test_a_mode_that_is_repeated_is_not_followed(self, signed_in, application):
        twice = url(application, response_mode="form_post") + "&response_mode=query"

        assert_sent_back(signed_in.get(twice), "invalid_request")
