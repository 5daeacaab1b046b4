"""Every JSON of the documentation has the members, and their types, of the real answer."""

from __future__ import annotations

import base64
import json
import re
from functools import partial

import pytest
from django.test import Client as Browser

from django_ciam_token.api import create_client, issue_tokens
from django_ciam_token.testing import post_form
from tests.docs.blocks import blocks
from tests.factories import UserFactory

NAME = re.compile(r"json: (.*)")


def claims(jwt):
    payload = jwt.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


class Answers:
    """What the endpoints answer, by the names that the pages give."""

    def __init__(self):
        self.browser = Browser()
        self.portal, self.secret = create_client(
            name="Portal", application_type="web", client_id="portal", scope="openid"
        )
        self.tokens = issue_tokens(client=self.portal, user=UserFactory())

    def post(self, path, **form):
        given = {"client_id": "portal", "client_secret": self.secret, **form}
        return post_form(self.browser, path, {name: value for name, value in given.items() if value}).json()

    def machine(self):
        _, secret = create_client(name="M", application_type="m2m", client_id="machine", scope="profile")
        form = {"client_id": "machine", "client_secret": secret, "grant_type": "client_credentials"}
        return self.post("/oauth2/token", **form)

    def get(self, path, **headers):
        return self.browser.get(path, headers=headers).json()

    def named(self):
        access, refresh = self.tokens["access_token"], self.tokens["refresh_token"]
        refreshing = {"grant_type": "refresh_token", "refresh_token": refresh}
        return {
            "token": partial(self.post, "/oauth2/token", **refreshing),
            "client credentials": self.machine,
            "claims of an access token": partial(claims, access),
            "claims of an id_token": partial(claims, self.tokens["id_token"]),
            "revocation": partial(self.post, "/oauth2/revoke", token=refresh),
            "introspection": partial(self.post, "/oauth2/introspect", token=access),
            "introspection of a token that is not live": partial(self.post, "/oauth2/introspect", token="x"),
            "userinfo": partial(self.get, "/userinfo", authorization=f"Bearer {access}"),
            "jwks": partial(self.get, "/oauth2/jwks"),
            "an error": partial(self.post, "/oauth2/token", grant_type="refresh_token"),
        }


def shape(value):
    """Return the members and types of an answer; of a list, those of its first element."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(member) for member in value[:1]]
    return type(value).__name__


def documented():
    """Return the JSON blocks, and those that a console shows."""
    for block in blocks("json", "console"):
        text = block.code if block.language == "json" else "\n".join(_objects(block.code))
        if block.is_run and text:
            yield pytest.param(block, text, id=block.place)


def _objects(output):
    return [line for line in output.splitlines() if line.startswith("{")]


@pytest.mark.django_db
@pytest.mark.parametrize(("block", "text"), list(documented()))
def test_json_is_that_of_the_real_answer(block, text):
    if block.language == "console":
        for line in text.splitlines():
            json.loads(line.replace(", …}", "}"))
        return
    shown, name = json.loads(text), NAME.fullmatch(block.comment)
    assert name, "say which answer it is: <!-- json: token -->"

    assert shape(shown) == shape(Answers().named()[name[1]]())


@pytest.mark.django_db
def test_the_answers_are_all_shown():
    shown = {name[1] for block in blocks("json") if (name := NAME.fullmatch(block.comment))}

    assert set(Answers().named()) == shown
