from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.core.checks import Error, registry
from django.core.checks import Warning as CheckWarning
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from django_ciam_token import checks
from django_ciam_token.checks import check_deployment, check_settings, check_signing_keys
from django_ciam_token.conf import option_names
from django_ciam_token.keys import signing_keys
from django_ciam_token.models import SigningKey

ISSUER = "https://id.example.com"
GOOD_SECRET = "s" * 32
NEW_SECRET = "n" * 50


def messages(*, debug=False, **values):
    with override_settings(CIAM_TOKEN={"ISSUER": ISSUER, **values}, DEBUG=debug):
        return check_settings(None)


def deployment_messages(*, debug=False, **values):
    with override_settings(CIAM_TOKEN={"ISSUER": ISSUER, **values}, DEBUG=debug):
        return check_deployment(None)


def database_messages():
    return check_signing_keys(None, databases=["default"])


def test_a_correct_configuration_reports_nothing():
    assert check_settings(None) == []
    assert check_deployment(None) == []


def test_a_site_with_many_valid_settings_reports_nothing():
    assert (
        messages(
            SECRETS=[GOOD_SECRET],
            SCOPES={"openid": "Sign you in"},
            ACCESS_TOKEN_LIFETIME=600,
            ACCESS_TOKEN_PROFILE="rfc9068",
            SESSION_LIFETIME=None,
            SUBJECT="builtins.str",
            USER_OF_SUBJECT="builtins.str",
            SIGNING_ALGORITHM="EdDSA",
        )
        == []
    )


@override_settings(CIAM_TOKEN=["ISSUER"])
def test_e001_the_setting_is_not_a_dict():
    assert check_settings(None) == [
        Error(
            "CIAM_TOKEN must be a dict of settings.",
            hint="Write CIAM_TOKEN = {'ISSUER': 'https://…'}.",
            id="django_ciam_token.E001",
        )
    ]


@pytest.mark.parametrize("written", [{}, {"ISSUER": None}])
def test_e002_the_issuer_is_missing(written):
    with override_settings(CIAM_TOKEN=written):
        found = check_settings(None)

    assert found[-1] == Error(
        "CIAM_TOKEN['ISSUER'] is missing.",
        hint="Set it to the site's address, such as 'https://id.example.com'. It goes into every token.",
        id="django_ciam_token.E002",
    )


def test_e002_a_site_without_the_setting_gets_one_message():
    with override_settings():
        del settings.CIAM_TOKEN
        assert [message.id for message in check_settings(None)] == ["django_ciam_token.E002"]


@pytest.mark.parametrize("name", sorted(set(option_names()) - {"ISSUER"}))
def test_e003_a_value_is_of_the_wrong_type(name):
    found = [message for message in messages(**{name: [object()]}) if message.is_serious()]

    assert [message.id for message in found] == ["django_ciam_token.E003"]
    assert found[0].msg.startswith(f"CIAM_TOKEN[{name!r}] ")
    assert found[0].hint == "See docs/reference/settings.md."
    assert found[0].is_serious()


def test_e003_the_issuer_is_not_a_string():
    assert messages(ISSUER=5) == [
        Error(
            "CIAM_TOKEN['ISSUER'] must be a string that is not empty.",
            hint="See docs/reference/settings.md.",
            id="django_ciam_token.E003",
        )
    ]


def test_every_wrong_value_is_reported_at_once():
    found = messages(ACCESS_TOKEN_LIFETIME=-1, USER_CLAIMS="no.such.hook", ACESS=1)

    assert sorted(message.id for message in found) == [
        "django_ciam_token.E003",
        "django_ciam_token.E003",
        "django_ciam_token.E004",
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ACESS_TOKEN_LIFETIME", "ACCESS_TOKEN_LIFETIME"),
        ("access_token_lifetime", "ACCESS_TOKEN_LIFETIME"),
        ("GRACE_PERIOD", "REFRESH_TOKEN_GRACE_PERIOD"),
        ("ISUER", "ISSUER"),
    ],
)
def test_e004_an_unknown_setting_with_a_suggestion(written, meant):
    assert messages(**{written: 600}) == [
        Error(
            f"CIAM_TOKEN has no setting {written!r}.",
            hint=f"Did you mean {meant!r}?",
            id="django_ciam_token.E004",
        )
    ]


def test_e004_an_unknown_setting_without_a_suggestion():
    with override_settings(CIAM_TOKEN={"ISSUER": ISSUER, 42: "?"}):
        found = check_settings(None)

    assert found == [
        Error(
            "CIAM_TOKEN has no setting 42.",
            hint=f"The settings are: {', '.join(option_names())}.",
            id="django_ciam_token.E004",
        )
    ]


def not_https(issuer):
    return f"CIAM_TOKEN['ISSUER'] is {issuer!r}, which is not an https URL without query and fragment."


@pytest.mark.parametrize(
    "issuer",
    [
        "id.example.com",
        "https://",
        "http://",
        "http://id.example.com?tenant=1",
        "https:///path",
        "https://id.example.com?tenant=1",
        "https://id.example.com/#top",
        "ftp://id.example.com",
        "https://[id.example.com",
        "urn:example",
        "https://id.example.com?",
        "https://id.example.com#",
        "https://id.example.com ",
        "https://id.example.com\n",
    ],
)
def test_e005_the_issuer_is_no_https_url_without_query_and_fragment(issuer):
    expected = Error(
        not_https(issuer),
        hint="RFC 8414 §2 requires one. For development and tests http is accepted as well.",
        id="django_ciam_token.E005",
    )

    assert messages(ISSUER=issuer) == [expected]
    assert messages(ISSUER=issuer, debug=True) == [expected]
    assert deployment_messages(ISSUER=issuer) == []  # Reported already.


@pytest.mark.parametrize(
    "issuer", ["https://id.example.com", "https://id.example.com:8443/tenant", "https://[::1]"]
)
def test_an_https_issuer_may_have_a_port_and_a_path(issuer):
    assert messages(ISSUER=issuer) == []


def test_w025_an_issuer_that_ends_with_a_slash():
    [found] = messages(ISSUER="https://id.example.com/tenant/")

    assert found.id == "django_ciam_token.W025"
    assert "'https://id.example.com/tenant//.well-known/…'" in found.msg


@pytest.mark.parametrize("debug", [True, False])
def test_e005_an_http_issuer_is_an_error_on_a_deployed_site(debug):
    assert deployment_messages(ISSUER="http://id.example.com", debug=debug) == [
        Error(
            not_https("http://id.example.com"),
            hint="RFC 8414 §2 requires one.",
            id="django_ciam_token.E005",
        )
    ]


def test_w008_an_http_issuer_is_good_enough_for_tests():
    assert messages(ISSUER="http://localhost:8000") == [
        CheckWarning(
            not_https("http://localhost:8000"),
            hint="RFC 8414 §2 requires one. It is an error under `check --deploy`.",
            id="django_ciam_token.W008",
        )
    ]
    assert messages(ISSUER="http://localhost:8000", debug=True) == []


SHORT_SECRET = "A secret that protects tokens is shorter than 32 characters."
SHORT_SECRET_HINT = "Make SECRET_KEY, its fallbacks or CIAM_TOKEN['SECRETS'] long and random."


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("secrets", [["s" * 31], [GOOD_SECRET, "short"], [""]])
def test_e006_a_secret_is_too_short_for_a_deployed_site(secrets, debug):
    assert deployment_messages(SECRETS=secrets, debug=debug) == [
        Error(SHORT_SECRET, hint=SHORT_SECRET_HINT, id="django_ciam_token.E006")
    ]


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("secrets", [["s" * 31], [GOOD_SECRET, "short"], [""]])
def test_w001_a_secret_is_too_short(secrets, debug):
    assert messages(SECRETS=secrets, debug=debug) == [
        CheckWarning(SHORT_SECRET, hint=SHORT_SECRET_HINT, id="django_ciam_token.W001")
    ]


def test_secret_key_itself_is_too_short():
    for short in ({"SECRET_KEY": "short"}, {"SECRET_KEY_FALLBACKS": ["short"]}):
        with override_settings(**short):
            assert [message.id for message in messages()] == ["django_ciam_token.W001"]
            assert [message.id for message in deployment_messages()] == ["django_ciam_token.E006"]


@pytest.mark.parametrize("written", [["ISSUER"], {}, {"ISSUER": 5}, {"ISSUER": ISSUER, "SECRETS": "one"}])
def test_what_the_check_of_settings_reports_is_not_reported_again_of_a_deployed_site(written):
    with override_settings(CIAM_TOKEN=written):
        assert check_settings(None) != []
        assert check_deployment(None) == []


def test_e007_a_key_would_sign_before_every_verifier_knows_it():
    assert messages(SIGNING_KEY_LEAD=360) == [
        Error(
            "SIGNING_KEY_LEAD (0:06:00) is not longer than JWKS_MAX_AGE and PROCESS_CACHE_LIFETIME "
            "together (0:06:00): verifiers would see tokens signed with a key they don't know yet.",
            hint="Lengthen SIGNING_KEY_LEAD or shorten the other two.",
            id="django_ciam_token.E007",
        )
    ]
    assert messages(SIGNING_KEY_LEAD=361) == []
    assert [message.id for message in messages(JWKS_MAX_AGE=3600)] == ["django_ciam_token.E007"]
    assert [message.id for message in messages(PROCESS_CACHE_LIFETIME=3300)] == ["django_ciam_token.E007"]


def test_e007_is_not_reported_for_values_that_are_not_durations():
    assert [message.id for message in messages(JWKS_MAX_AGE="soon")] == ["django_ciam_token.E003"]


def test_e009_nothing_is_committed_before_the_answer(monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "AUTOCOMMIT", False)

    assert messages() == [
        Error(
            "DATABASES['default']['AUTOCOMMIT'] is False: tokens are handed out before they are stored, and "
            "lost unless something of the site commits.",
            hint="Remove AUTOCOMMIT, or keep the tables of django_ciam_token in a database without it.",
            id="django_ciam_token.E009",
        )
    ]


@pytest.mark.django_db
def test_a_migrated_database_reports_nothing():
    assert database_messages() == []


@pytest.mark.django_db
def test_w004_there_is_no_active_key():
    SigningKey.objects.all().delete()

    assert database_messages() == [
        CheckWarning(
            "There is no active signing key.",
            hint="Make a key with: manage.py rotate_signing_key --now",
            id="django_ciam_token.W004",
        )
    ]


@pytest.mark.django_db
def test_w004_a_key_that_is_only_published_does_not_sign():
    SigningKey.objects.all().delete()
    signing_keys.rotate(algorithm="EdDSA")

    assert [message.id for message in database_messages()] == ["django_ciam_token.W004"]


@pytest.mark.django_db
def test_w005_no_secret_decrypts_the_active_key():
    (key,) = SigningKey.objects.all()

    with override_settings(SECRET_KEY=NEW_SECRET):
        found = database_messages()

    assert found == [
        CheckWarning(
            f"None of the site's secrets decrypts the active signing key {key.kid}.",
            hint="List the former secret in SECRET_KEY_FALLBACKS again. "
            "Make a key with: manage.py rotate_signing_key --now",
            id="django_ciam_token.W005",
        )
    ]


@pytest.mark.django_db
def test_w002_the_active_key_depends_on_a_fallback_secret():
    (key,) = SigningKey.objects.all()

    with override_settings(SECRET_KEY=NEW_SECRET, SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        found = database_messages()
        signing_keys.rotate(algorithm="RS256", immediately=True)
        found_after = database_messages()

    assert found == [
        CheckWarning(
            f"The active signing key {key.kid} is encrypted with a fallback secret.",
            hint="Run manage.py rotate_signing_key before you remove that secret.",
            id="django_ciam_token.W002",
        )
    ]
    assert found_after == []


@pytest.mark.django_db
def test_w003_the_algorithm_of_the_active_key_is_not_that_of_the_setting():
    with override_settings(CIAM_TOKEN={"ISSUER": ISSUER, "SIGNING_ALGORITHM": "EdDSA"}):
        found = database_messages()
        signing_keys.rotate(immediately=True)
        found_after = database_messages()

    assert found == [
        CheckWarning(
            "SIGNING_ALGORITHM is EdDSA, but the active signing key is for RS256.",
            hint="The setting applies only to new keys; make one with: manage.py rotate_signing_key",
            id="django_ciam_token.W003",
        )
    ]
    assert found_after == []


@pytest.mark.django_db
def test_w007_the_active_key_is_older_than_the_setting_allows():
    SigningKey.objects.update(active_at=timezone.now() - timedelta(days=366))
    [key] = SigningKey.objects.all()

    assert database_messages() == [
        CheckWarning(
            f"The signing key {key.kid} has been active for longer than SIGNING_KEY_MAX_AGE "
            "(365 days, 0:00:00).",
            hint="Make a new one with: manage.py rotate_signing_key",
            id="django_ciam_token.W007",
        )
    ]
    with override_settings(CIAM_TOKEN={"ISSUER": ISSUER, "SIGNING_KEY_MAX_AGE": None}):
        assert database_messages() == []


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "value"), [("SIGNING_KEY_MAX_AGE", "a year"), ("SECRETS", "one string")])
def test_a_wrong_setting_is_left_to_the_check_of_settings(name, value):
    with override_settings(CIAM_TOKEN={"ISSUER": ISSUER, name: value}):
        assert database_messages() == []


@pytest.mark.parametrize("databases", [None, [], ["other"]])
def test_a_database_that_was_not_named_is_not_queried(databases):
    # No django_db mark: a query would fail.
    assert check_signing_keys(None, databases=databases) == []


@pytest.mark.django_db
def test_nothing_is_reported_before_the_first_migrate(monkeypatch):
    monkeypatch.setattr(SigningKey._meta, "db_table", "not_there_yet")

    assert database_messages() == []


def test_the_checks_are_registered_once():
    registered = list(registry.registry.registered_checks)

    assert registered.count(checks.check_settings) == 1
    assert registered.count(checks.check_signing_keys) == 1
    assert list(registry.registry.deployment_checks).count(checks.check_deployment) == 1


@pytest.mark.django_db
def test_manage_py_check_passes_with_the_settings_of_the_tests():
    output = StringIO()

    call_command("check", stdout=output, stderr=output)

    assert output.getvalue() == "System check identified no issues (0 silenced).\n"


@pytest.mark.django_db
def test_manage_py_check_reports_a_wrong_setting():
    with (
        override_settings(CIAM_TOKEN={"ISSUER": ISSUER, "ACESS_TOKEN_LIFETIME": 600}),
        pytest.raises(SystemCheckError) as caught,
    ):
        call_command("check")

    assert "(django_ciam_token.E004) CIAM_TOKEN has no setting 'ACESS_TOKEN_LIFETIME'." in str(caught.value)
    assert "HINT: Did you mean 'ACCESS_TOKEN_LIFETIME'?" in str(caught.value)


@pytest.mark.django_db
def test_manage_py_check_of_the_database_reports_a_missing_key():
    call_command("check", databases=["default"], stdout=StringIO())
    SigningKey.objects.all().delete()

    call_command("check", stdout=StringIO())
    with pytest.raises(SystemCheckError, match=r"\(django_ciam_token.W004\) There is no active signing key"):
        call_command("check", databases=["default"], fail_level="WARNING")


@pytest.mark.django_db
def test_migrate_is_not_stopped_by_a_missing_key_and_makes_it(capsys):
    # The state after a migrate that was interrupted before its end.
    SigningKey.objects.all().delete()

    call_command("migrate", skip_checks=False, verbosity=0)

    assert database_messages() == []
    assert "(django_ciam_token.W004)" in capsys.readouterr().err


def test_w006_a_subject_without_its_inverse(settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SUBJECT": "builtins.str"}

    [warning] = checks.check_settings(None)
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "USER_OF_SUBJECT": "builtins.str"}

    assert warning.id == "django_ciam_token.W006"
    assert "USER_OF_SUBJECT" in warning.hint
    assert checks.check_settings(None) == []
