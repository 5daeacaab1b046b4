"""Every command line of the documentation: manage.py is run, and of others it is checked what they name."""

from __future__ import annotations

import configparser
import io
import re
import shlex
import sys
from urllib.parse import urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command, get_commands, load_command_class
from django.urls import resolve

from django_ciam_token.api import create_client, issue_tokens
from django_ciam_token.crypto import jose
from django_ciam_token.models import Client
from tests.docs.blocks import PAGES, blocks
from tests.docs.pages import ROOT
from tests.factories import ClientFactory

MANAGE = re.compile(r"(?:^|.*[|&] *)(?:\S*python )?manage\.py (?P<arguments>.*)")
SCHEDULE = re.compile(r"^[\d*/@,-]\S*(?: +[\d*/,-]+){4} +(?:app +)?")
FOREIGN = {"oauth_toolkit", "allauth", "simplejwt"}
# Of these nothing is known here that could be wrong.
HARMLESS = {"cd", "django-admin", "git", "mkdir", "msgfmt", "python3"}
# `test_tutorial` types its commands, and compares what they print.
FOLLOWED = {ROOT / "docs" / "tutorial.md"}


def lines():
    """Return each command line, with where it stands."""
    for block in blocks("console", "sh", "cron"):
        if block.is_run and block.page not in FOLLOWED:
            for line in block.commands():
                command = SCHEDULE.sub("", line) if block.language == "cron" else line
                yield pytest.param(command, id=f"{block.place} {command[:50]}")


def words(line):
    return shlex.split(line, comments=True)


def managed(line):
    """Return the arguments of manage.py, without what the shell does with input and output."""
    match = MANAGE.fullmatch(line)
    return match and words(re.sub(r" [<>]{1,2} *\S+", "", match["arguments"]).split(" && ")[0])


LINES = list(lines())
MANAGED = [line for line in LINES if managed(line.values[0])]
OTHERS = [line for line in LINES if not managed(line.values[0])]


def prepare(command, options, folder):
    """Make what a reader has who types this: user, client and file; return what is piped in."""
    named = options.get("username") or options.get("user")
    user, _ = get_user_model().objects.get_or_create(username=named or "alice")
    client_id = options.get("client_id") or options.get("client")
    if client_id and command != "create_client" and not Client.objects.filter(client_id=client_id).exists():
        is_machine = command == "issue_tokens" and not named
        create_client(
            name=client_id,
            application_type="m2m" if is_machine else "web",
            client_id=client_id,
            redirect_uris="" if is_machine else "https://portal.example.com/callback",
        )
    if command == "import_signing_key":
        pem = jose.generate_private_key("ES256")
        (folder / "oidc.key").write_bytes(pem)
        return pem.decode()
    if options.get("token"):
        client = ClientFactory()
        return issue_tokens(client=client, user=user)["refresh_token"] + "\nyes\n"
    return "yes\n"


@pytest.mark.django_db
@pytest.mark.parametrize("line", MANAGED)
def test_a_command_of_manage_py_works(line, tmp_path, monkeypatch, settings):
    name, *arguments = managed(line)
    app = get_commands().get(name)
    assert app, f"there is no command {name}"
    command = load_command_class(app, name) if isinstance(app, str) else app
    parser = command.create_parser("manage.py", name)
    options = vars(parser.parse_args(arguments))
    if app != "django_ciam_token" or FOREIGN & set(arguments):
        return  # Django's own, or one that needs another package: it suffices that it takes these options.
    if options.get("ends_with"):
        return  # It names a secret that only the reader has.
    monkeypatch.chdir(tmp_path)
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "SCOPES": {"openid": "", "profile": "", "email": "", "orders:read": "", "read": ""},
        "ALERT_EMAILS": ["ops@example.com"],
    }
    monkeypatch.setattr(sys, "stdin", io.StringIO(prepare(name, options, tmp_path)))

    call_command(name, *arguments, stdout=io.StringIO(), stderr=io.StringIO())


def environments():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    return {name.removeprefix("testenv:") for name in tox.sections()}


@pytest.mark.parametrize("line", OTHERS)
def test_what_another_command_names_is_there(line):
    program, *arguments = words(line)
    if program == "curl":
        [address] = [word for word in arguments if word.startswith("http")]
        path = urlsplit(address).path
        assert path.startswith("/api/") or resolve(path)
    elif program == "tox":
        named = [word for word in arguments if not word.startswith("-")]
        assert all(re.match(r"py\d+-django\d+-", name) or name in environments() for name in named)
    elif program.endswith("pip"):
        extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
        for named in re.findall(r"django-ciam-token\[([\w,]+)\]", line):
            assert set(named.split(",")) <= set(extras)
    elif program == "cp":
        assert (ROOT.parent / arguments[0].replace("../django_ciam_token", ROOT.name)).is_file()
    elif program == "psql":
        assert (ROOT / arguments[arguments.index("-f") + 1]).is_file()
    else:
        assert program in HARMLESS, f"{program}: nothing here checks it; see whether something can"


def test_every_page_with_commands_is_looked_at():
    pages = {block.page for block in blocks("console", "sh", "cron")}

    assert pages <= set(PAGES)
    assert len(MANAGED) > 60
