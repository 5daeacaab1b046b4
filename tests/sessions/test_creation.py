"""Sessions of users and clients who are deleted while they begin."""

from __future__ import annotations

import pytest

from django_ciam_token.api import issue_tokens
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.tokens import first_tokens


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("deleted", ["user", "client"])
def test_who_is_deleted_meanwhile_gets_no_first_tokens(web_client, user, monkeypatch, deleted):
    sign = first_tokens.sign_tokens

    def delete_before(*args, **kwargs):
        # Another process; this one has the rows in memory.
        (type(user).objects if deleted == "user" else Client.objects).all().delete()
        return sign(*args, **kwargs)

    monkeypatch.setattr(first_tokens, "sign_tokens", delete_before)

    with pytest.raises(InvalidGrant):
        issue_tokens(client=web_client, user=user)

    assert not RefreshToken.objects.exists()
