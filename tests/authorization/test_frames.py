"""What error trackers see of a page that the site can't render: the variables of every frame."""

from __future__ import annotations

import sys
import traceback
from urllib.parse import urlencode

import pytest
from django.core.signals import got_request_exception

from django_ciam_token.crypto import authorization_code_string
from tests.authorization.conftest import NONCE, STATE, answer_of, exchange, url
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def fails(request):
    raise RuntimeError("a context processor of the site broke")


@pytest.fixture
def variables(settings):
    """The reprs of the variables of the frames of each reported exception, in a site that can't render."""
    [engine] = settings.TEMPLATES
    options = {**engine["OPTIONS"], "context_processors": [f"{__name__}.{fails.__name__}"]}
    settings.TEMPLATES = [{**engine, "OPTIONS": options}]
    collected: list[str] = []

    def collect(**kwargs):
        for frame, _ in traceback.walk_tb(sys.exc_info()[2]):
            collected.append(repr(list(frame.f_locals.values())))

    got_request_exception.connect(collect)
    yield collected
    got_request_exception.disconnect(collect)


def test_no_frame_has_the_code(signed_in, application, monkeypatch, variables):
    encode, codes = authorization_code_string.encode, []

    def keep(*args, **kwargs):
        codes.append(encode(*args, **kwargs))
        return codes[-1]

    monkeypatch.setattr(authorization_code_string, "encode", keep)

    with pytest.raises(RuntimeError, match="context processor"):
        signed_in.get(url(application, response_mode="form_post"))

    assert len(codes) == 1
    assert len(variables) > 5
    assert not any(secret in text for text in variables for secret in (*codes, STATE, NONCE))


def test_no_frame_has_what_a_form_of_ours_carries_on(signed_in, application, settings, request):
    code = answer_of(signed_in.get(url(application)))["code"]
    hint = exchange(application, code)["id_token"]
    collected = request.getfixturevalue("variables")

    with pytest.raises(RuntimeError, match="context processor"):
        signed_in.get(url(application, prompt="consent", id_token_hint=hint))
    signed_in.force_login(UserFactory())
    with pytest.raises(RuntimeError, match="context processor"):
        signed_in.get(f"/oauth2/logout?{urlencode({'state': STATE, 'id_token_hint': hint})}")

    assert len(collected) > 10
    assert not any(secret in text for text in collected for secret in (hint, STATE, NONCE))
