from __future__ import annotations

import math
from collections import OrderedDict
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_ciam_token import conf
from django_ciam_token.conf import Settings, ciam_settings, option_names
from django_ciam_token.grants.authorization_code import exchange
from django_ciam_token.grants.client_credentials import issue_for_itself
from django_ciam_token.grants.refresh_token import refresh

ISSUER = "https://id.example.com"
DEFAULTS = {
    "SCOPES": {
        "openid": "Sign you in",
        "profile": "Read your profile",
        "email": "Read your email address",
    },
    "GRANTS": {
        "authorization_code": exchange,
        "refresh_token": refresh,
        "client_credentials": issue_for_itself,
    },
    "FOREIGN_TOKENS": {},
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=300),
    "ID_TOKEN_LIFETIME": timedelta(seconds=1800),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=1),
    "SESSION_LIFETIME": timedelta(days=30),
    "REFRESH_TOKEN_GRACE_PERIOD": timedelta(seconds=30),
    "AUTHORIZATION_CODE_LIFETIME": timedelta(seconds=60),
    "AUTHORIZATION_CODE_GRACE_PERIOD": timedelta(0),
    "ACCESS_TOKEN_PROFILE": "ciam",
    "SUBJECT": None,
    "USER_OF_SUBJECT": None,
    "ACCESS_TOKEN_CLAIMS": None,
    "ID_TOKEN_CLAIMS": None,
    "ISSUANCE_POLICY": None,
    "MACHINE_USER": None,
    "RESOURCE_AUDIENCES": None,
    "REQUEST_START_HEADER": None,
    "RESOURCE_LEEWAY": timedelta(0),
    "RESOURCE_CHECKS_REVOCATION": True,
    "RESOURCE_STATELESS": False,
    "PASS_ON_FOREIGN_TOKENS": False,
    "USER_CLAIMS": None,
    "AUDIT_TRAIL": True,
    "ALERT_EMAILS": None,
    "FAILURES_PER_MINUTE": 300,
    "SLOW_FAILURES_PER_MINUTE": 30,
    "ENDED_RETENTION": timedelta(days=30),
    "END_SESSIONS_ON_PASSWORD_CHANGE": True,
    "CLIENT_ADDRESS": None,
    "SIGNING_ALGORITHM": "RS256",
    "SIGNING_KEY_LEAD": timedelta(hours=1),
    "SIGNING_KEY_MAX_AGE": timedelta(days=365),
    "PROCESS_CACHE_LIFETIME": timedelta(seconds=60),
    "JWKS_MAX_AGE": timedelta(seconds=300),
    "CLIENT_SECRET_OVERLAP": timedelta(days=7),
    "CACHE_SCOPE": None,
}
# It has limits of its own.
OF_A_CODE = "AUTHORIZATION_CODE_LIFETIME"
LIFETIMES = [name for name, value in DEFAULTS.items() if isinstance(value, timedelta) and name != OF_A_CODE]
MAY_BE_ZERO = [
    "AUTHORIZATION_CODE_GRACE_PERIOD",
    "REFRESH_TOKEN_GRACE_PERIOD",
    "CLIENT_SECRET_OVERLAP",
    "RESOURCE_LEEWAY",
    "ENDED_RETENTION",
]
MAY_BE_NONE = {"SESSION_LIFETIME", "SIGNING_KEY_MAX_AGE"}
SWITCHES = ["END_SESSIONS_ON_PASSWORD_CHANGE", "RESOURCE_CHECKS_REVOCATION", "AUDIT_TRAIL"]
SWITCHES += ["RESOURCE_STATELESS", "PASS_ON_FOREIGN_TOKENS"]
CALLABLES = [
    "SUBJECT",
    "USER_OF_SUBJECT",
    "ACCESS_TOKEN_CLAIMS",
    "ID_TOKEN_CLAIMS",
    "USER_CLAIMS",
    "ISSUANCE_POLICY",
    "MACHINE_USER",
    "CLIENT_ADDRESS",
    "CACHE_SCOPE",
]


def value_of(name, written):
    with override_settings(CIAM_TOKEN={name: written}):
        return getattr(ciam_settings, name)


def refusal_of(name, written):
    with pytest.raises(ImproperlyConfigured) as caught:
        value_of(name, written)
    return str(caught.value)


@pytest.mark.parametrize("seconds", [10, 60, 600])
def test_a_code_lives_ten_seconds_to_ten_minutes(seconds):
    assert value_of(OF_A_CODE, seconds) == timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", [9.9, 600.1])
def test_a_code_lives_neither_shorter_nor_longer(seconds):
    assert "at least 10 seconds and at most 10 minutes" in refusal_of(OF_A_CODE, seconds)


def test_the_options_are_those_with_a_default_here_plus_issuer_and_secrets():
    assert set(option_names()) == {*DEFAULTS, "ISSUER", "SECRETS"}


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_default_of(name):
    with override_settings(CIAM_TOKEN={"ISSUER": ISSUER}):
        assert getattr(ciam_settings, name) == DEFAULTS[name]


def test_without_the_setting_the_defaults_apply():
    with override_settings():
        del settings.CIAM_TOKEN

        assert timedelta(minutes=5) == ciam_settings.ACCESS_TOKEN_LIFETIME
        with pytest.raises(ImproperlyConfigured, match=r"CIAM_TOKEN\['ISSUER'\] must be a string"):
            _ = ciam_settings.ISSUER


@pytest.mark.parametrize("value", [None, [], "ISSUER", 5, {"ISSUER"}, [("ISSUER", ISSUER)]])
def test_the_setting_must_be_a_dict(value):
    with (
        override_settings(CIAM_TOKEN=value),
        pytest.raises(ImproperlyConfigured, match="CIAM_TOKEN must be a dict of settings"),
    ):
        _ = ciam_settings.ACCESS_TOKEN_LIFETIME


def test_the_setting_can_be_any_mapping():
    with override_settings(CIAM_TOKEN=OrderedDict(ISSUER=ISSUER)):
        assert ciam_settings.ISSUER == ISSUER


def test_a_setting_is_read_when_it_is_used():
    values = {"ACCESS_TOKEN_LIFETIME": 60}
    with override_settings(CIAM_TOKEN=values):
        assert timedelta(seconds=60) == ciam_settings.ACCESS_TOKEN_LIFETIME

        values["ACCESS_TOKEN_LIFETIME"] = 120

        assert timedelta(seconds=120) == ciam_settings.ACCESS_TOKEN_LIFETIME
    assert timedelta(seconds=300) == ciam_settings.ACCESS_TOKEN_LIFETIME


def test_on_the_class_an_option_is_itself():
    assert isinstance(Settings.ISSUER, conf.Option)
    assert Settings.ISSUER.name == "ISSUER"


@pytest.mark.parametrize("name", LIFETIMES)
@pytest.mark.parametrize(
    ("written", "read"),
    [
        (90, timedelta(seconds=90)),
        (1, timedelta(seconds=1)),
        (1.5, timedelta(milliseconds=1500)),
        (timedelta(minutes=3), timedelta(minutes=3)),
        (timedelta(days=3660), timedelta(days=3660)),
        (3660 * 86_400, timedelta(days=3660)),
    ],
)
def test_a_lifetime_is_a_timedelta_or_a_number_of_seconds(name, written, read):
    assert value_of(name, written) == read


@pytest.mark.parametrize("name", LIFETIMES)
@pytest.mark.parametrize(
    "written",
    [
        True,
        False,
        "300",
        "",
        [300],
        {},
        -1,
        -0.001,
        0.999,
        timedelta(milliseconds=999),
        timedelta(seconds=-1),
        timedelta(days=3660, microseconds=1),
        3660 * 86_400 + 1,
        1e30,
        10**400,
        math.inf,
        -math.inf,
        math.nan,
        object,
    ],
    ids=lambda value: str(value)[:20],
)
def test_nothing_else_is_a_lifetime(name, written):
    or_else = "0, or " if name in MAY_BE_ZERO else "None, or " if name in MAY_BE_NONE else ""
    assert refusal_of(name, written) == (
        f"CIAM_TOKEN[{name!r}] must be {or_else}a timedelta or a number of seconds, at least 1 and at most "
        "ten years."
    )


@pytest.mark.parametrize("name", LIFETIMES)
@pytest.mark.parametrize("zero", [0, 0.0, timedelta(0)], ids=repr)
def test_only_some_lifetimes_may_be_zero(name, zero):
    if name in MAY_BE_ZERO:
        assert value_of(name, zero) == timedelta(0)
    else:
        assert "at least 1" in refusal_of(name, zero)


@pytest.mark.parametrize("name", LIFETIMES)
def test_only_a_session_and_a_signing_key_may_have_no_end(name):
    if name in MAY_BE_NONE:
        assert value_of(name, None) is None
    else:
        assert "a timedelta" in refusal_of(name, None)


@pytest.mark.parametrize(
    "written", [None, "", 5, True, b"https://id.example.com", ["https://id.example.com"]]
)
def test_the_issuer_must_be_a_string(written):
    assert refusal_of("ISSUER", written) == "CIAM_TOKEN['ISSUER'] must be a string that is not empty."


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("written", [None, 0, 1, "True", ""])
def test_a_switch_must_be_true_or_false(name, written):
    assert refusal_of(name, written) == f"CIAM_TOKEN[{name!r}] must be True or False."


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_can_be_false(name):
    assert value_of(name, False) is False


@pytest.mark.parametrize("written", [1, 30, 10**6, None])
def test_a_limit_is_a_number_or_none(written):
    assert value_of("FAILURES_PER_MINUTE", written) == written


@pytest.mark.parametrize("written", [0, -1, 1.5, math.inf, True, "30", [30]])
def test_nothing_else_is_a_limit(written):
    assert refusal_of("FAILURES_PER_MINUTE", written) == (
        "CIAM_TOKEN['FAILURES_PER_MINUTE'] must be a whole number of at least 1, or None."
    )


@pytest.mark.parametrize(
    ("written", "read"), [(None, None), ([], ()), (["a", "b"], ("a", "b")), (("a",), ("a",))]
)
def test_audiences_are_a_list_of_strings_or_none(written, read):
    assert value_of("RESOURCE_AUDIENCES", written) == read


@pytest.mark.parametrize("written", ["a", 5, {"a"}, {"a": 1}, [5], ["a", None]])
def test_nothing_else_is_a_list_of_audiences(written):
    assert refusal_of("RESOURCE_AUDIENCES", written) == (
        "CIAM_TOKEN['RESOURCE_AUDIENCES'] must be a list of strings, or None."
    )


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("SIGNING_ALGORITHM", ("RS256", "PS256", "ES256", "EdDSA")),
        ("ACCESS_TOKEN_PROFILE", ("ciam", "rfc9068")),
    ],
)
def test_a_choice_must_be_one_of_those_offered(name, choices):
    assert [value_of(name, choice) for choice in choices] == list(choices)
    for written in ("", "none", "HS256", choices[0].swapcase(), None, 5, [choices[0]]):
        assert refusal_of(name, written) == f"CIAM_TOKEN[{name!r}] must be one of {', '.join(choices)}."


@pytest.mark.parametrize("name", CALLABLES)
def test_a_hook_is_a_callable_its_dotted_path_or_none(name):
    assert value_of(name, math.floor) is math.floor
    assert value_of(name, "math.floor") is math.floor
    assert value_of(name, None) is None


@pytest.mark.parametrize("name", CALLABLES)
@pytest.mark.parametrize(
    ("written", "message"),
    [
        (5, "must be a callable or the dotted path of one"),
        ("math.pi", "must be a callable or the dotted path of one"),
        ("math.flour", "cannot be imported"),
        ("no_such_module.hook", "cannot be imported"),
        ("floor", "cannot be imported"),
        ("", "cannot be imported"),
        (".floor", "cannot be imported"),
        ("..math.floor", "cannot be imported"),
    ],
)
def test_nothing_else_is_a_hook(name, written, message):
    assert refusal_of(name, written).startswith(f"CIAM_TOKEN[{name!r}] {message}")


@pytest.mark.parametrize("name", ["SCOPES", "GRANTS"])
@pytest.mark.parametrize("written", [None, [], "openid", ["openid"], {1: "math.floor"}, 5])
def test_scopes_and_grants_are_dicts_by_name(name, written):
    assert refusal_of(name, written) == f"CIAM_TOKEN[{name!r}] must be a dict whose keys are strings."


def test_a_site_names_its_own_scopes():
    scopes = {"openid": "Sign you in", "orders": "See your orders"}

    assert value_of("SCOPES", scopes) == scopes


def test_a_site_names_its_own_grants():
    grants = value_of("GRANTS", {"refresh_token": refresh, "urn:example:grant": "math.floor"})

    assert grants == {"refresh_token": refresh, "urn:example:grant": math.floor}
    assert "cannot be imported" in refusal_of("GRANTS", {"refresh_token": "no.such.grant"})


@override_settings(SECRET_KEY="first", SECRET_KEY_FALLBACKS=["second", "third"])
def test_the_secrets_are_secret_key_and_its_fallbacks_unless_listed():
    assert value_of("ISSUER", ISSUER) == ISSUER
    with override_settings(CIAM_TOKEN={}):
        assert ciam_settings.SECRETS == ("first", "second", "third")
    assert value_of("SECRETS", None) == ("first", "second", "third")
    assert value_of("SECRETS", ["own", b"bytes"]) == ("own", "bytes")
    assert value_of("SECRETS", ("own",)) == ("own",)


@pytest.mark.parametrize("written", ["a string", b"bytes", [], (), [5], ["good", None], {1: 2}, 5, {"a"}])
def test_nothing_else_is_a_list_of_secrets(written):
    assert refusal_of("SECRETS", written) == (
        "CIAM_TOKEN['SECRETS'] must be a list of strings, the one to sign with first."
    )


def test_a_refusal_does_not_quote_the_secrets():
    assert "hush" not in refusal_of("SECRETS", ["hush", 5])


@pytest.mark.parametrize("written", [{}, {"two words": ""}, {"": ""}, {'quo"te': ""}, [], {5: ""}])
def test_scopes_that_nobody_could_be_granted_are_refused(written):
    assert "must be a dict whose keys are" in refusal_of("SCOPES", written)
