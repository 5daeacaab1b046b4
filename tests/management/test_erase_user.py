from __future__ import annotations

import pytest
from django.core.management.base import CommandError

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import SecurityEvent

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_deleted_user_is_taken_out_of_the_audit_trail(run, run_json, web_client, user):
    key = user.pk
    issue_tokens(client=web_client, user=user)
    user.delete()
    assert run("erase_user", str(key), "--dry-run").startswith("Would erase the person from ")
    assert SecurityEvent.objects.filter(user_id=str(key)).exists()

    assert run_json("erase_user", str(key))["events"] >= 1

    assert not SecurityEvent.objects.filter(user_id=str(key)).exists()
    assert run("erase_user", str(key)) == "Erased the person from 0 events.\n"


def test_the_name_of_a_user_who_is_there_is_looked_up(run, user):
    SecurityEvent.objects.create(event="revoked", actor=user.get_username())

    assert run("erase_user", str(user.pk)) == "Erased the person from 1 event.\n"
    assert run("erase_user", "no-key-of-a-user").startswith("Erased the person from 0")
    assert run("erase_user", "no-key-of-a-user", "--username", "nobody").startswith("Erased")


def test_a_database_that_refuses_is_reported(run, refusing):
    refusing("__iter__")

    with pytest.raises(CommandError, match="Run it again"):
        run("erase_user", "42", "--username", "nobody")
