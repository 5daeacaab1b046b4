"""How answers are written."""

from __future__ import annotations

import pytest
from rest_framework.request import Request

from django_ciam_token.views.form import StrictFormParser
from django_ciam_token.views.rendering import JSONRenderer, OneRepresentation
from tests.conftest import post_form
from tests.views.conftest import FORM, assert_error


@pytest.mark.django_db
def test_accept_does_not_matter(form):
    response = post_form({**form, "refresh_token": "wrong"}, HTTP_ACCEPT="text/html")

    assert_error(response, 400, "invalid_grant")


def test_json_is_written_with_a_space_after_comma_and_colon():
    assert JSONRenderer().render({"a": [1, 2], "b": "ü"}) == b'{"a": [1, 2], "b": "\\u00fc"}'


def test_an_answer_without_content_has_no_body():
    assert JSONRenderer().render(None) == b""


@pytest.mark.parametrize(
    ("content_type", "is_selected"),
    [(FORM, True), (FORM.upper(), True), ("application/json", False), ("", False)],
)
def test_the_parser_is_selected_if_the_content_is_a_form(rf, content_type, is_selected):
    parser = StrictFormParser()
    request = Request(rf.generic("POST", "/oauth2/token", b"a=1", content_type))

    assert OneRepresentation().select_parser(request, [parser]) is (parser if is_selected else None)
