"""Reading the Authorization header, and writing the challenge of a refusal."""

from __future__ import annotations

import pytest

from django_ciam_token.concealed import Concealed
from django_ciam_token.errors import InvalidRequest, InvalidToken
from django_ciam_token.tokens.bearer import bearer_token, challenge


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_scheme_is_accepted_in_any_case(scheme):
    assert bearer_token(f"{scheme} abc.DEF-_~+/09==") == Concealed("abc.DEF-_~+/09==")


@pytest.mark.parametrize("authorization", [None, "", "Basic eDp5", "Bearerx abc", "Token abc"])
def test_another_scheme_has_no_token(authorization):
    assert bearer_token(authorization) is None


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer ", "bearer a b", "Bearer a, Bearer b"])
def test_no_token_or_more_than_one_is_an_invalid_request(authorization):
    with pytest.raises(InvalidRequest) as caught:
        bearer_token(authorization)

    assert caught.value.reason == "not_one_token"
    assert caught.value.description == "send one access token: Authorization: Bearer TOKEN"


@pytest.mark.parametrize("token", ["a,b", "a=b", "=", 'a"b', "é", "\x00"])
def test_a_character_that_no_token_has_is_refused(token):
    with pytest.raises(InvalidToken) as caught:
        bearer_token(f"Bearer {token}")

    assert caught.value.reason == "malformed_token"


def test_a_challenge_quotes_its_parameters_and_leaves_out_empty_ones():
    assert challenge(error="invalid_token") == 'Bearer error="invalid_token"'
    assert challenge(realm="api", error="insufficient_scope", scope="openid email") == (
        'Bearer realm="api", error="insufficient_scope", scope="openid email"'
    )
    assert challenge(realm='the "portal" \\', scope="") == r'Bearer realm="the \"portal\" \\"'
