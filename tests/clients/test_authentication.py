from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password
from django.test import override_settings
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.api import issue_tokens
from django_ciam_token.caller import Caller
from django_ciam_token.clients import secrets
from django_ciam_token.clients.authentication import authenticate
from django_ciam_token.clients.methods import METHODS, Credentials, read_credentials, uses_basic
from django_ciam_token.clients.methods import secret as secret_method
from django_ciam_token.clients.secrets import import_client_secret, rotate_client_secret
from django_ciam_token.concealed import Concealed
from django_ciam_token.errors import InvalidClient, InvalidRequest
from django_ciam_token.models import Client, ClientSecret, RefreshToken
from django_ciam_token.sessions.rows import StoredSecret
from tests.factories import ClientFactory

NOW = timezone.now()
CALLER = Caller(address="192.0.2.1", user_agent="App/1.0")

BY_NAME = {method.name: method for method in METHODS}


def claimed(client_id, secret):
    proof = None if secret is None else Concealed(secret)
    return Credentials(BY_NAME["none" if secret is None else "client_secret_post"], client_id, proof)


def basic(text, scheme="Basic"):
    raw = text.encode() if isinstance(text, str) else text
    return f"{scheme} {base64.b64encode(raw).decode()}"


@pytest.mark.parametrize(
    ("authorization", "parameters", "client_id", "secret"),
    [
        (None, {"client_id": "app"}, "app", None),
        (None, {"client_id": "app", "client_secret": "s"}, "app", "s"),
        (basic("app:s"), {}, "app", "s"),
        (basic("app:s"), {"client_id": "app"}, "app", "s"),
        (basic("app:s", "basic"), {}, "app", "s"),
        (basic("app:s", "BASIC"), {}, "app", "s"),
        (basic("app:s").replace(" ", "   "), {}, "app", "s"),
        (basic("app:s") + " ", {}, "app", "s"),
        (basic("my%2Dapp:s%5F%7E"), {"client_id": "my-app"}, "my-app", "s_~"),
        (basic("my+app:a+b"), {}, "my app", "a b"),
        (basic("app:with:colons"), {}, "app", "with:colons"),
        (basic("app%3Ax:s"), {}, "app:x", "s"),
        (basic("ünï:✓"), {}, "ünï", "✓"),
        (basic("%C3%BC:s"), {}, "ü", "s"),
        (basic("app:"), {}, "app", None),
        (basic("app:"), {"client_id": "app"}, "app", None),
        ("Bearer abc", {"client_id": "app", "client_secret": "s"}, "app", "s"),
        ("Digest username=app", {"client_id": "app"}, "app", None),
        ("Basically " + basic("app:s")[6:], {"client_id": "app"}, "app", None),
        ("", {"client_id": "app"}, "app", None),
    ],
)
def test_credentials_are_read_from_the_one_place_they_are_in(authorization, parameters, client_id, secret):
    method = "client_secret_basic" if uses_basic(authorization) else "client_secret_post"
    proof = None if secret is None else Concealed(secret)
    expected = Credentials(BY_NAME["none" if secret is None else method], client_id, proof)

    assert read_credentials(authorization, parameters) == expected


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic YXBwOnM",  # Without its padding.
        "Basic YXBw-_8=",
        "Basic YXBwOnM=YXBwOnM=",
        "Basic YXBwOn\u00e9M=",
        basic("app"),
        basic(""),
        basic(":s"),
        basic(b"app:\xff"),
        basic("app:%FF"),
        basic("%FF:s"),
        basic("app:s\x00"),
        basic("app%00:s"),
        basic("\x00:s"),
    ],
)
def test_a_malformed_basic_header_is_a_wrong_client(authorization):
    with pytest.raises(InvalidClient) as caught:
        read_credentials(authorization, {"client_id": "app"})

    assert caught.value.reason == "malformed_basic"
    assert caught.value.members() == {"error": "invalid_client"}
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("authorization", "parameters", "reason", "description"),
    [
        (None, {}, "missing_client_id", "client_id is missing; send it in the form body"),
        (None, {"client_secret": "s"}, "missing_client_id", "client_id is missing; send it in the form body"),
        ("Bearer abc", {}, "missing_client_id", "client_id is missing; send it in the form body"),
        (
            basic("app:s"),
            {"client_id": "other"},
            "client_id_mismatch",
            "client_id differs from the one in the Authorization header",
        ),
        (
            basic("app:s"),
            {"client_id": "App"},
            "client_id_mismatch",
            "client_id differs from the one in the Authorization header",
        ),
        *(
            (
                authorization,
                {"client_id": "app", name: "x"},
                "several_authentication_methods",
                "use one way of client authentication: the Authorization header or the form, not both",
            )
            for authorization in (basic("app:s"), basic("app:"), "Basic !!!!")
            for name in ("client_secret", "client_assertion", "client_assertion_type")
        ),
        *(
            (
                None,
                {"client_id": "app", "client_secret": "s", name: "x"},
                "several_authentication_methods",
                "use one way of client authentication: client_secret or client_assertion, not both",
            )
            for name in ("client_assertion", "client_assertion_type")
        ),
    ],
)
def test_an_ambiguous_request_is_malformed(authorization, parameters, reason, description):
    with pytest.raises(InvalidRequest) as caught:
        read_credentials(authorization, parameters)

    assert caught.value.reason == reason
    assert caught.value.members() == {"error": "invalid_request", "error_description": description}


@pytest.mark.parametrize(
    "parameters",
    [
        {"client_id": "app", "client_assertion": "x", "client_assertion_type": "y"},
        {"client_assertion": "x"},
        {"client_id": "app", "client_assertion_type": "y"},
    ],
)
def test_a_method_that_is_not_served_is_a_wrong_client(parameters):
    with pytest.raises(InvalidClient) as caught:
        read_credentials(None, parameters)

    assert caught.value.reason == "unsupported_authentication_method"


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, False),
        ("", False),
        ("Basic", True),
        ("bAsIc x", True),
        ("Basic\tx", False),
        ("Bearer Basic", False),
        ("Basicx y", False),
    ],
)
def test_basic_is_a_scheme_in_any_case(authorization, expected):
    assert uses_basic(authorization) is expected


def test_no_repr_shows_a_secret():
    assert "hush" not in repr(claimed("app", "hush"))
    assert "hush" not in repr(StoredSecret(pk=1, digest="hush", expires_at=None, last_used_at=None))


def credentials(client, secret):
    return claimed(client.client_id, secret)


def logged(caplog):
    return [record for record in caplog.records if record.name == "django_ciam_token"]


def expire(client):
    client.secrets.update(expires_at=NOW)
    return client.plain_secret


def disable(client):
    Client.objects.filter(pk=client.pk).update(is_active=False)
    return client.plain_secret


FAILURES = [
    ("web", "client_disabled", disable),
    ("spa", "client_disabled", disable),
    ("web", "missing_secret", lambda client: None),
    ("m2m", "missing_secret", lambda client: None),
    ("web", "wrong_secret", lambda client: "wrong"),
    ("m2m", "wrong_secret", lambda client: client.plain_secret + "x"),
    ("web", "wrong_secret", lambda client: client.plain_secret.swapcase()),
    ("web", "wrong_secret", lambda client: ""),
    ("web", "wrong_secret", lambda client: "ünïcode"),
    ("web", "expired_secret", expire),
    ("web", "stored_digest_presented", lambda client: client.secrets.get().secret_digest),
    ("spa", "unexpected_secret", lambda client: "any"),
    ("mobile", "unexpected_secret", lambda client: "any"),
    ("mobile", "unexpected_secret", lambda client: ""),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("application_type", "reason", "spoil"), FAILURES)
def test_every_failure_is_reported_with_its_reason_and_answered_alike(
    application_type, reason, spoil, traces, caplog, django_capture_on_commit_callbacks
):
    client = ClientFactory(application_type=application_type)
    presented = spoil(client)

    with django_capture_on_commit_callbacks(execute=True), pytest.raises(InvalidClient) as caught:
        authenticate(credentials(client, presented), now=NOW, caller=CALLER)

    assert caught.value.reason == reason
    assert caught.value.members() == {"error": "invalid_client"}
    (record,) = logged(caplog)
    assert record.getMessage() == f"Client authentication failed for {client.client_id}: {reason}"
    assert record.levelname == "WARNING"
    assert record.event == "client_authentication_failed"
    assert (record.client_id, record.reason) == (client.client_id, reason)
    assert traces.of(signals.client_authentication_failed) == [
        {"sender": Client, "client_id": client.client_id, "reason": reason, "caller": CALLER}
    ]


@pytest.mark.django_db
def test_what_an_unknown_client_sent_is_nowhere_reported(traces, caplog, django_capture_on_commit_callbacks):
    presented = claimed("a-secret-in-the-wrong-field", "another-secret")

    with django_capture_on_commit_callbacks(execute=True), pytest.raises(InvalidClient) as caught:
        authenticate(presented, now=NOW, caller=CALLER)

    assert caught.value.reason == "unknown_client"
    (record,) = logged(caplog)
    assert record.getMessage() == "Client authentication failed for an unknown client_id: unknown_client"
    assert (record.client_id, record.reason) == (None, "unknown_client")
    assert traces.of(signals.client_authentication_failed) == [
        {"sender": Client, "client_id": None, "reason": "unknown_client", "caller": CALLER}
    ]
    traces.secrets.extend(["a-secret-in-the-wrong-field", "another-secret"])


@pytest.mark.django_db
def test_every_outcome_costs_the_same_query(web_client, spa_client, machine, django_assert_num_queries):
    rotate_client_secret(machine)

    for presented in (
        credentials(web_client, web_client.plain_secret),
        credentials(web_client, "wrong"),
        credentials(spa_client, None),
        credentials(machine, machine.plain_secret),
        claimed("unknown", "wrong"),
        claimed("unknown", None),
    ):
        with django_assert_num_queries(1):
            try:
                authenticate(presented, now=NOW)
            except InvalidClient:
                continue


@pytest.mark.django_db
def test_an_unknown_client_costs_the_same_comparisons_as_a_wrong_secret(web_client, monkeypatch):
    compared = []
    compare = secrets.hmac.compare_digest
    monkeypatch.setattr(secrets.hmac, "compare_digest", lambda *args: compared.append(args) or compare(*args))

    with pytest.raises(InvalidClient):
        authenticate(claimed("unknown", "wrong"), now=NOW)
    for_unknown = list(compared)
    compared.clear()
    authenticate(credentials(web_client, web_client.plain_secret), now=NOW)

    assert len(for_unknown) == len(compared) == 1
    assert [len(text) for text in for_unknown[0]] == [len(text) for text in compared[0]]


@pytest.mark.django_db
@pytest.mark.parametrize("application_type", ["web", "m2m"])
def test_a_confidential_client_presents_its_secret(application_type):
    client = ClientFactory(application_type=application_type)

    assert authenticate(credentials(client, client.plain_secret), now=NOW).client == client


@pytest.mark.django_db
@pytest.mark.parametrize("application_type", ["spa", "mobile"])
def test_a_public_client_presents_nothing(application_type, caplog):
    client = ClientFactory(application_type=application_type)

    assert authenticate(credentials(client, None), now=NOW).client == client
    assert logged(caplog) == []


@pytest.mark.django_db
@pytest.mark.parametrize("application_type", ["spa", "mobile"])
def test_a_client_that_was_given_a_secret_must_present_it(application_type):
    client = ClientFactory(application_type=application_type)
    secret = rotate_client_secret(client)

    assert authenticate(credentials(client, secret), now=NOW).client == client
    with pytest.raises(InvalidClient) as caught:
        authenticate(credentials(client, None), now=NOW)
    assert caught.value.reason == "missing_secret"


@pytest.mark.django_db
def test_a_client_whose_only_secret_has_expired_does_not_become_public(spa_client):
    rotate_client_secret(spa_client)
    spa_client.secrets.update(expires_at=NOW)

    with pytest.raises(InvalidClient) as caught:
        authenticate(credentials(spa_client, None), now=NOW)

    assert caught.value.reason == "missing_secret"


@pytest.mark.django_db
def test_a_web_client_without_any_secret_is_never_let_in(web_client):
    ClientSecret.objects.all().delete()

    for presented in (None, "", "-" * 64, secret_method._NO_DIGEST):
        with pytest.raises(InvalidClient):
            authenticate(credentials(web_client, presented), now=NOW)


@pytest.mark.django_db
def test_two_secrets_are_good_at_once_until_the_first_expires(web_client):
    first = web_client.plain_secret
    second = rotate_client_secret(web_client, overlap=timedelta(hours=1), now=NOW)

    for secret in (first, second):
        assert authenticate(credentials(web_client, secret), now=NOW).client == web_client
    just_before = NOW + timedelta(hours=1, microseconds=-1)
    assert authenticate(credentials(web_client, first), now=just_before).client == web_client
    with pytest.raises(InvalidClient) as caught:
        authenticate(credentials(web_client, first), now=NOW + timedelta(hours=1))
    assert caught.value.reason == "expired_secret"
    assert authenticate(credentials(web_client, second), now=NOW + timedelta(hours=1)).client == web_client


@pytest.mark.django_db
def test_the_secret_of_another_client_is_wrong(web_client, machine):
    with pytest.raises(InvalidClient) as caught:
        authenticate(credentials(web_client, machine.plain_secret), now=NOW)

    assert caught.value.reason == "wrong_secret"


@pytest.mark.django_db
@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"])
def test_an_imported_secret_works_with_the_password_hash_it_had(web_client):
    web_client.secrets.all().delete()
    hashed = PBKDF2PasswordHasher().encode("brought-along", "salt", iterations=10)
    import_client_secret(web_client, hashed)

    assert authenticate(credentials(web_client, "brought-along"), now=NOW).client == web_client
    for presented, reason in [
        ("wrong", "wrong_secret"),
        (None, "missing_secret"),
        (hashed, "stored_digest_presented"),
    ]:
        with pytest.raises(InvalidClient) as caught:
            authenticate(credentials(web_client, presented), now=NOW)
        assert caught.value.reason == reason


@pytest.mark.django_db
@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"])
@pytest.mark.parametrize(("presented", "reason"), [(None, "missing_secret"), ("x" * 2_000, "wrong_secret")])
def test_no_slow_hash_is_computed_for_nothing_or_for_too_much(web_client, monkeypatch, presented, reason):
    import_client_secret(web_client, PBKDF2PasswordHasher().encode("x", "salt", iterations=10))
    monkeypatch.setattr(secrets, "check_password", lambda *args: pytest.fail("a slow hash was computed"))

    with pytest.raises(InvalidClient) as caught:
        authenticate(credentials(web_client, presented), now=NOW)

    assert caught.value.reason == reason


@pytest.mark.django_db
@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"])
def test_a_hasher_that_raises_has_found_a_wrong_secret(web_client, monkeypatch, traces):
    """As that of bcrypt does for more than 72 bytes."""
    import_client_secret(web_client, PBKDF2PasswordHasher().encode("x", "salt", iterations=10))

    def refuse(secret, digest):
        raise ValueError(f"password {secret} is too long")

    monkeypatch.setattr(secrets, "check_password", refuse)
    traces.secrets.append("s" * 80)

    with pytest.raises(InvalidClient) as caught:
        authenticate(credentials(web_client, "s" * 80), now=NOW)

    assert caught.value.reason == "wrong_secret"
    assert any("client_secret_not_compared" in line and "ValueError" in line for line in traces.logged)


@pytest.mark.django_db
@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"])
def test_a_refusal_is_explained_without_computing_a_slow_hash_again(web_client, monkeypatch):
    imported = import_client_secret(web_client, PBKDF2PasswordHasher().encode("x", "salt", iterations=10))
    ClientSecret.objects.filter(pk=imported.pk).update(expires_at=NOW)
    checked = []
    monkeypatch.setattr(secrets, "check_password", lambda *args: checked.append(args))

    with pytest.raises(InvalidClient) as caught:
        authenticate(credentials(web_client, "x"), now=NOW)

    # That it was right once is not found out.
    assert (caught.value.reason, checked) == ("wrong_secret", [])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "variant", [str.upper, lambda text: text + " ", lambda text: " " + text, lambda text: text + "\u0301"]
)
def test_a_client_id_that_is_only_similar_is_unknown(variant):
    client = ClientFactory(client_id="customer-portal")

    with pytest.raises(InvalidClient) as caught:
        authenticate(claimed(variant("customer-portal"), client.plain_secret), now=NOW)

    assert caught.value.reason == "unknown_client"


@pytest.mark.django_db
def test_two_client_ids_may_differ_only_in_case():
    lower, upper = ClientFactory(client_id="portal"), ClientFactory(client_id="PORTAL")

    assert authenticate(credentials(lower, lower.plain_secret), now=NOW).client == lower
    assert authenticate(credentials(upper, upper.plain_secret), now=NOW).client == upper
    with pytest.raises(InvalidClient):
        authenticate(credentials(lower, upper.plain_secret), now=NOW)


def test_a_stored_digest_is_the_sha_256_in_hexadecimal():
    # FIPS 180-4's example of "abc".
    assert secrets.secret_digest("abc") == (
        "sha256$ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.django_db
@pytest.mark.parametrize(("kept", "is_stale"), [("ours", False), ("imported", True), ("both", True)])
def test_a_session_counts_as_stale_if_a_slow_hash_may_have_been_checked_since(
    web_client, user, kept, is_stale
):
    issue_tokens(client=web_client, user=user)
    secret = web_client.plain_secret
    if kept != "ours":
        secret = "brought along"
        import_client_secret(web_client, make_password(secret))
    if kept == "both":
        secret = rotate_client_secret(web_client)
    # Its use needs no note, which might have to wait.
    ClientSecret.objects.update(last_used_at=timezone.now())

    reading = authenticate(
        claimed(web_client.client_id, secret),
        session_id=RefreshToken.objects.get().pk,
        now=timezone.now(),
    )

    assert reading.session.is_stale is is_stale
