from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError

from django_ciam_token.api import rotate_client_secret
from django_ciam_token.clients.secret_retirement import live_secrets
from django_ciam_token.management.commands import retire_client_secret
from tests.management.conftest import client_is_accepted
from tests.operators import refuse

pytestmark = pytest.mark.django_db


@pytest.fixture
def two(web_client):
    rotate_client_secret(web_client, overlap=timedelta(days=7))
    return web_client


def test_without_a_choice_the_secrets_are_listed(run, run_json, two):
    new, old = live_secrets(two)

    text = run("retire_client_secret", two.client_id)

    assert f"…{new.last_four} (created" in text
    assert "never used" in text
    assert "works until" in text
    assert [secret["ends_with"] for secret in run_json("retire_client_secret", two.client_id)["secrets"]] == [
        new.last_four,
        old.last_four,
    ]
    assert len(live_secrets(two)) == 2


def test_the_chosen_secret_ends_after_a_question(run, errors, typed, two):
    old = live_secrets(two)[1]
    typed("no\n")
    with pytest.raises(CommandError, match="Nothing was changed"):
        run("retire_client_secret", two.client_id, f"--ends-with={old.last_four}")
    assert client_is_accepted(two.client_id, two.plain_secret)
    typed("yes\n")

    text = run("retire_client_secret", two.client_id, f"--ends-with={old.last_four}")

    assert f"…{old.last_four} (created" in errors.getvalue()
    assert text == f"The secret that ends with {old.last_four} no longer works.\n"
    assert not client_is_accepted(two.client_id, two.plain_secret)


def test_a_script_is_not_asked(run_json, two):
    old = live_secrets(two)[1]

    answer = run_json("retire_client_secret", two.client_id, f"--ends-with={old.last_four}", "--no-input")

    assert answer == {"client_id": two.client_id, "retired": old.last_four}


def test_the_only_secret_stays(run, web_client):
    with pytest.raises(CommandError, match="only live secret"):
        run("retire_client_secret", web_client.client_id, f"--ends-with={web_client.plain_secret[-4:]}")
    assert client_is_accepted(web_client.client_id, web_client.plain_secret)


def test_an_unknown_one_is_an_error(run, two):
    with pytest.raises(CommandError, match="no live secret that ends with 'zzzz!'"):
        run("retire_client_secret", two.client_id, "--ends-with=zzzz!")


def test_if_the_secret_that_is_left_ends_as_well_it_is_said(run, errors, two):
    new, old = live_secrets(two)

    run("retire_client_secret", two.client_id, f"--ends-with={new.last_four}", "--no-input")

    assert f"The remaining secret …{old.last_four} ends on " in errors.getvalue()
    assert f"manage.py rotate_client_secret {two.client_id}" in errors.getvalue()


def test_a_database_that_refuses_is_reported(run, two, monkeypatch):
    monkeypatch.setattr(retire_client_secret, "retire_client_secret", refuse)

    with pytest.raises(CommandError, match="the secret may have ended"):
        run("retire_client_secret", two.client_id, f"--ends-with={two.plain_secret[-4:]}", "--no-input")


def test_somebody_else_was_faster(run, two, monkeypatch):
    monkeypatch.setattr(retire_client_secret, "retire_client_secret", lambda *args, **options: None)

    with pytest.raises(CommandError, match="Somebody else has ended"):
        run("retire_client_secret", two.client_id, f"--ends-with={two.plain_secret[-4:]}", "--no-input")


def test_a_client_without_a_secret_says_so(run, web_client):
    web_client.secrets.all().delete()

    assert run("retire_client_secret", web_client.client_id) == "It has no live secret.\n"
