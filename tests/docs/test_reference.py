"""The reference names everything that there is, and nothing else, with the values that are real."""

from __future__ import annotations

import argparse
import inspect
import os
import re
from datetime import timedelta
from importlib import import_module

import pytest
from django.core.management import get_commands, load_command_class
from django.dispatch import Signal
from django.test import override_settings

import django_ciam_token
from django_ciam_token import signals
from django_ciam_token.conf import Settings, ciam_settings, option_names
from tests.docs.pages import REFERENCE, sections, sources
from tests.docs.reasons import reasons

SETTINGS = sections("settings")
COMMANDS = sections("commands")
OURS = sorted(name for name, app in get_commands().items() if app == "django_ciam_token")
OTHER_NAMES = {"list_tokens": "list_sessions", "revoke_tokens": "revoke_sessions"}
# A line of a setting: `- Default: `300``.
FACT = r"^- {}: (.*)$"


def fact(setting, name):
    [line] = re.findall(FACT.format(name), SETTINGS[setting], re.MULTILINE)
    return line


def evaluated(code):
    return eval(code, {"timedelta": timedelta, "os": os})  # noqa: S307 - it is ours


def parsed(name, value):
    with override_settings(CIAM_TOKEN={name: value}):
        return getattr(ciam_settings, name)


def test_every_setting_has_its_heading():
    assert set(SETTINGS) == set(option_names())


@pytest.mark.parametrize("name", [name for name in option_names() if name != "ISSUER"])
def test_the_default_of_a_setting_is_the_real_one(name):
    stated = re.match(r"`(.*?)`", fact(name, "Default"))[1]

    default = vars(Settings)[name].default
    assert parsed(name, evaluated(stated)) == parsed(name, default)
    assert (evaluated(stated) is None) == (default is None)


def test_the_issuer_is_required():
    assert fact("ISSUER", "Default") == "required"


@pytest.mark.parametrize("name", option_names())
def test_the_example_of_a_setting_is_accepted_and_is_not_the_default(name, monkeypatch):
    monkeypatch.setenv("CIAM_SECRET", "c" * 40)
    monkeypatch.setenv("FORMER_CIAM_SECRET", "f" * 40)
    code = re.fullmatch(r"`(.*)`", fact(name, "Example"))[1]
    [(named, value)] = evaluated(f"{{{code}}}").items()

    assert named == name
    if isinstance(value, str) and value.startswith("portal."):
        return  # The dotted path of a callable of the reader's.
    assert parsed(name, value) != (name != "ISSUER" and parsed(name, vars(Settings)[name].default))


def test_every_command_has_its_heading():
    assert set(COMMANDS) == set(OURS) - OTHER_NAMES.keys()
    for other, name in OTHER_NAMES.items():
        assert f"Also called `{other}`" in COMMANDS[name]
        commands = (load_command_class("django_ciam_token", one) for one in (other, name))
        assert len({type(command) for command in commands}) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_options_and_words_of_its_help(name):
    general = {
        option
        for action in load_command_class("django.core", "dumpdata").create_parser("manage.py", "x")._actions
        for option in action.option_strings
        if option not in ("--all",) and not option.startswith(("--data", "--exc", "--form", "--nat", "--out"))
    }
    parser = load_command_class("django_ciam_token", name).create_parser("manage.py", name)
    stated = re.findall(r"^\| `([^`]+)` \| (.*) \|$", COMMANDS[name], re.MULTILINE)
    documented = {word.split()[0] for names, _ in stated for word in names.split(", ")}

    real = {}
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or set(action.option_strings) & general:
            continue
        for option in action.option_strings or [action.metavar or action.dest]:
            real[option if not action.choices or action.option_strings else "{"] = action
    assert {word if not word.startswith("{") else "{" for word in documented} == set(real)
    helps = " ".join(text for _, text in stated)
    for action in real.values():
        assert not action.help or parser._get_formatter()._expand_help(action).strip() in helps


def test_every_signal_has_its_heading_and_arguments():
    found = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    page = sections("signals")
    assert set(page) == found

    source = inspect.getsource(signals)
    for name in found:
        [text] = re.findall(rf'^{name}: Final = .*?"""(.*?)"""', source, re.DOTALL | re.MULTILINE)
        stated = re.search(r"Arguments: ([^.]*)\.", page[name])[1]
        arguments = re.sub(r"\([^()]*\)", "", text.split("Arguments:")[1]).split(".")[0]
        assert set(re.findall(r"`(\w+)`", stated)) == set(re.findall(r"``(\w+)``", arguments)), name


def test_every_check_has_its_heading():
    numbers = set()
    for path in sources():
        numbers.update(re.findall(r'"(?:django_ciam_token\.)?([EWI]\d{3})"', path.read_text()))

    assert set(sections("checks")) == numbers


def test_every_reason_has_its_heading():
    page = set(sections("reasons"))

    assert reasons() - page == set(), "reasons that the page does not explain"
    assert page - reasons() == set(), "reasons that nothing gives"


@pytest.mark.parametrize("page", ["reasons", "checks"])
def test_each_says_what_to_do(page):
    assert [name for name, text in sections(page).items() if "**What to do:** " not in text] == []


MODULES = re.findall(r"^::: (\S+)$", (REFERENCE / "python-api.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_everything_in_the_python_api_has_a_docstring(module):
    """`inspect.getdoc` would find that of a base class."""
    loaded = import_module(module)
    public = getattr(loaded, "__all__", None) or [
        name for name, value in vars(loaded).items() if getattr(value, "__module__", "") == module
    ]
    for name in public:
        value = getattr(loaded, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            # A dataclass without one gets its signature.
            assert not (value.__doc__ or name + "(").startswith(f"{name}("), f"{module}.{name}"
    assert public
    assert loaded.__doc__


def test_the_modules_are_in_the_table():
    page = (REFERENCE / "python-api.md").read_text()
    short = [module.removeprefix(f"{django_ciam_token.__name__}.") for module in MODULES]

    assert [name for name in short if f"| [`{name}`]" not in page] == []
