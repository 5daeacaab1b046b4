"""A token request that succeeds, and what the answers to requests that fail look like."""

from __future__ import annotations

import base64
import json
import re

import pytest

from tests.conftest import post_form

FORM = "application/x-www-form-urlencoded"
ALLOWED_IN_DESCRIPTION = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")


def basic(client_id, secret):
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


@pytest.fixture
def form(web_client, first_tokens):
    """A request that succeeds, which tests then break."""
    return {
        "grant_type": "refresh_token",
        "client_id": web_client.client_id,
        "client_secret": web_client.plain_secret,
        "refresh_token": first_tokens["refresh_token"],
    }


def assert_error(response, status, error, *, description=None):
    body = json.loads(response.content)
    assert response.status_code == status, body
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    assert response["Cache-Control"] == "private, no-store"
    assert response["Pragma"] == "no-cache"
    assert body["error"] == error
    assert set(body) <= {"error", "error_description"}
    if description is None:
        assert response.content == json.dumps({"error": error}).encode()
    else:
        assert description in body["error_description"]
        assert ALLOWED_IN_DESCRIPTION.fullmatch(body["error_description"])


def assert_still_valid(form):
    assert post_form(form).status_code == 200
