from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError

from django_ciam_token.models import RefreshToken
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_issue_tokens_answers_as_the_token_endpoint(run_json, web_client, user, refresh):
    answer = run_json("issue_tokens", "--client", web_client.client_id, "--user", user.username)

    assert list(answer) == list(refresh(web_client, answer["refresh_token"]).json())
    assert RefreshToken.objects.get().user == user


def test_issue_tokens_issues_tokens_to_a_machine_with_a_scope(run, machine):
    text = run("issue_tokens", "--client", machine.client_id, "--scope", "profile")

    assert [line.partition(":")[0] for line in text.splitlines()] == [
        "access_token",
        "refresh_token",
        "scope",
        "token_type",
        "expires_in",
    ]


def test_issue_tokens_says_what_is_wrong(run):
    client = ClientFactory(scope="openid")
    UserFactory(username="gone", is_active=False)

    for arguments, message in [
        (["--user", "nobody"], r"There is no user 'nobody' \(looked for in 'username'\)\."),
        ([], "invalid_request: this application signs users in; name the user"),
        (["--user", "gone"], "invalid_grant: user_disabled"),
        (["--user", "alice", "--scope", "email"], "invalid_scope: this application may be granted: openid"),
    ]:
        get_user_model().objects.get_or_create(username="alice")
        with pytest.raises(CommandError, match=message):
            run("issue_tokens", "--client", client.client_id, *arguments)
