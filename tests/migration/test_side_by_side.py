"""All packages in one project: nothing of one is in the way of another."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.management import call_command, get_commands
from django.db import models
from django.test import Client as Browser
from django.urls import reverse

import django_ciam_token
from tests.factories import UserFactory

OTHERS = ("oauth2_provider", "account", "allauth_idp_oidc", "knox", "token_blacklist")


def test_the_checks_find_nothing_but_who_serves_discovery():
    found = [message for message in run_checks() if not message.is_silenced()]

    serious = [message for message in found if message.level >= 30 and message.id.startswith("django_ciam")]
    assert [(message.id, message.msg.split(": ")[1].split(" ")[0]) for message in serious] == [
        ("django_ciam_token.W010", "django_ciam_token.views.metadata.MetadataView"),
    ]
    # Names of columns, tables, accessors and URLs that clash are errors of Django's.
    assert [message for message in found if message.level >= 40] == []
    assert [
        message for message in found if (message.id or "").startswith(("urls.", "fields.", "models."))
    ] == []


@pytest.mark.django_db
def test_nobody_lacks_a_migration():
    call_command("makemigrations", "django_ciam_token", check=True, dry_run=True, stdout=StringIO())
    call_command("migrate", check_unapplied=True, stdout=StringIO())


def test_every_command_is_still_the_one_of_its_app():
    ours = {
        path.stem for path in Path(django_ciam_token.__file__).parent.glob("management/commands/[a-z]*.py")
    }

    commands = get_commands()

    assert {name for name in ours if commands[name] == "django_ciam_token"} == ours
    assert commands["cleartokens"] == commands["createapplication"] == "oauth2_provider"


def test_the_names_by_which_a_user_reaches_rows_are_all_different():
    user = apps.get_model("auth.User")
    accessors = [relation.get_accessor_name() for relation in user._meta.related_objects]

    assert len(accessors) == len(set(accessors))
    assert "ciam_refresh_tokens" in accessors


def test_tables_and_labels_are_all_different():
    tables = [model._meta.db_table for model in apps.get_models(include_auto_created=True)]

    assert len(tables) == len(set(tables))
    assert all(
        issubclass(model, models.Model) for model in apps.get_app_config("django_ciam_token").get_models()
    )


@pytest.mark.django_db
def test_each_url_leads_to_its_own_app():
    assert reverse("django_ciam_token:token") == "/oauth2/token"
    assert reverse("oauth2_provider:token") == "/o/token/"
    assert reverse("idp:oidc:token") == "/identity/o/api/token"
    assert reverse("idp:oidc:configuration") == reverse("django_ciam_token:openid-configuration")
    assert Browser().get("/.well-known/openid-configuration").json()["issuer"] == "https://id.example.com"


@pytest.mark.django_db
def test_the_admin_has_them_all():
    browser = Browser()
    browser.force_login(UserFactory(is_staff=True, is_superuser=True))

    page = browser.get("/admin/").content.decode()

    registered = [label for label in ("django_ciam_token", *OTHERS) if f'href="/admin/{label}/"' in page]
    assert "django_ciam_token" in registered
    assert "oauth2_provider" in registered
    for label in registered:
        assert browser.get(f"/admin/{label}/").status_code == 200
