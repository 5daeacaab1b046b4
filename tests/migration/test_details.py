"""What is particular to each package, and to the command."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta
from io import StringIO
from types import ModuleType

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client as Browser
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from django.utils.module_loading import import_string
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from django_ciam_token.concealed import Concealed
from django_ciam_token.database import retry
from django_ciam_token.integrations import importing, oauth_toolkit
from django_ciam_token.models import Client, ForeignToken, RefreshToken
from django_ciam_token.resource_server import AccessTokenAuthentication
from django_ciam_token.sessions.foreign import EndedToken, ForeignIdentity, formats
from tests.factories import UserFactory
from tests.migration.packages import (
    PASSWORD,
    Allauth,
    SimpleJWT,
    Toolkit,
    release_of,
    run_import,
)
from tests.migration.test_moving import refused

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not settings.HAS_BLACKLIST, reason="simplejwt stores nothing"),
]

# Of "abc".
ABC = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture
def user():
    return UserFactory(password=PASSWORD)


def run(*arguments):
    output, errors = StringIO(), StringIO()
    call_command("import_from", *arguments, stdout=output, stderr=errors)
    return output.getvalue(), errors.getvalue()


@pytest.mark.parametrize(
    ("package", "theirs", "is_ours_first"),
    [
        (Toolkit(), "oauth2_provider.contrib.rest_framework.OAuth2Authentication", False),
        (Allauth(), "allauth.idp.oidc.contrib.rest_framework.authentication.TokenAuthentication", False),
        (SimpleJWT(), "rest_framework_simplejwt.authentication.JWTAuthentication", True),
    ],
)
def test_an_api_accepts_the_access_tokens_of_both(site, user, package, theirs, is_ours_first):
    registered = package.register()
    classes = [import_string(theirs), AccessTokenAuthentication]
    if is_ours_first:
        classes.reverse()
    answer = package.refresh(site, registered, package.sign_in(site, registered, user)).json()
    run_import(package)
    ours = site.refresh(registered, answer["refresh_token"]).json()["access_token"]

    class Orders(APIView):
        authentication_classes = classes
        permission_classes = [IsAuthenticated]

        def get(self, request):
            return Response(request.user.pk)

    urls = ModuleType("urls_of_an_api")
    urls.urlpatterns = [path("orders", Orders.as_view())]
    passing_on = {**settings.CIAM_TOKEN, "PASS_ON_FOREIGN_TOKENS": is_ours_first}
    with override_settings(CIAM_TOKEN=passing_on, ROOT_URLCONF=urls):
        for token in (ours, answer.get("access_token") or answer["access"]):
            response = Browser().get("/orders", HTTP_AUTHORIZATION=f"Bearer {token}")
            assert (response.status_code, response.json()) == (200, user.pk)


def without(name):
    others = {key: value for key, value in settings.CIAM_TOKEN["FOREIGN_TOKENS"].items() if key != name}
    return override_settings(CIAM_TOKEN={**settings.CIAM_TOKEN, "FOREIGN_TOKENS": others})


# --- django-oauth-toolkit -----------------------------------------------------------------------------------


def test_all_that_an_application_had_is_kept():
    from oauth2_provider.models import Application

    registered = Toolkit().register("confidential")
    machine = Application.objects.create(
        client_id="export", client_type="confidential", authorization_grant_type="client-credentials"
    )
    Application.objects.create(
        client_id="old",
        client_type="public",
        authorization_grant_type="password",
        algorithm="HS256",
        redirect_uris="https://*.example.com",
    )

    done = run_import(Toolkit())

    portal = Client.objects.get(client_id=registered.client_id)
    assert (portal.name, portal.application_type, portal.scope) == ("Portal", "web", "openid read write")
    assert portal.redirect_uris == "https://app.example.com/callback"
    assert portal.post_logout_redirect_uris == "https://app.example.com/bye"
    assert portal.allowed_origins == "https://app.example.com"
    assert (portal.asks_consent, portal.requires_pkce) == (False, True)
    assert Client.objects.get(client_id=machine.client_id).application_type == "m2m"
    assert [remark.partition(",")[0][:48] for remark in done["remarks"]] == [
        "old: its id_tokens were signed with its secret (",
        "old: it signed users in with their passwords",
        "old: redirect URI left out: https://*.example.co",
    ]


def test_whether_pkce_is_needed_may_depend_on_the_application():
    Toolkit().register()
    changed = {**settings.OAUTH2_PROVIDER, "PKCE_REQUIRED": lambda client_id: False}

    with override_settings(OAUTH2_PROVIDER=changed):
        run_import(Toolkit())

    assert not Client.objects.get().requires_pkce


def test_a_token_that_the_toolkit_keeps_only_as_a_checksum(site, user):
    if release_of("django-oauth-toolkit") < (3, 4):
        pytest.skip("it keeps all tokens in clear")
    from oauth2_provider.models import RefreshToken as ToolkitToken

    package = Toolkit()
    registered = package.register()
    changed = {**settings.OAUTH2_PROVIDER, "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True}
    with override_settings(OAUTH2_PROVIDER=changed):
        imported, gradual = (package.sign_in(site, registered, user) for _ in range(2))
    assert set(ToolkitToken.objects.values_list("token", flat=True)) == {""}
    ToolkitToken.objects.order_by("-pk").first()
    run_import(package)

    assert site.refresh(registered, imported).status == 200
    assert site.refresh(registered, gradual).status == 200


def test_a_token_without_its_access_token_is_refused(site, user):
    from oauth2_provider.models import AccessToken

    package = Toolkit()
    registered = package.register()
    token = package.sign_in(site, registered, user)
    AccessToken.objects.all().delete()

    assert run_import(package)["tokens_left_out"] == {"it has no scope": 1}
    assert refused(site.refresh(registered, token))


@pytest.mark.parametrize("expires_after", [None, 3_600, timedelta(hours=1)])
def test_a_token_that_is_not_rotated_lives_longer_with_each_use(site, user, expires_after):
    package = Toolkit()
    registered = package.register()
    changed = {
        **settings.OAUTH2_PROVIDER,
        "ROTATE_REFRESH_TOKEN": False,
        "REFRESH_TOKEN_EXPIRE_SECONDS": expires_after,
    }
    with override_settings(OAUTH2_PROVIDER=changed):
        token = package.sign_in(site, registered, user)
        package.let_time_pass(minutes=90)
        run_import(package)
        before = RefreshToken.objects.get().expires_at
        assert package.refresh(site, registered, token).status == 200
        run_import(package)

        if expires_after:
            assert RefreshToken.objects.get().expires_at > before + timedelta(hours=1)
        assert ForeignToken.objects.get().needed_until is None
        assert site.refresh(registered, token).status == 200


def test_a_second_import_writes_nothing_for_sessions_that_end_before_their_tokens(site, user):
    package = Toolkit()
    registered = package.register()
    changed = {**settings.OAUTH2_PROVIDER, "REFRESH_TOKEN_EXPIRE_SECONDS": 90 * 86_400}
    with override_settings(OAUTH2_PROVIDER=changed):
        package.sign_in(site, registered, user)
        run_import(package)
        before = RefreshToken.objects.get()

        with CaptureQueriesContext(connection) as queries:
            run_import(package)

    assert before.expires_at == before.issued_at + timedelta(days=30)
    assert RefreshToken.objects.get().expires_at == before.expires_at
    assert not [query for query in queries if query["sql"].startswith("UPDATE")]


def test_many_sessions_are_prolonged_by_one_statement(site, user):
    package = Toolkit()
    registered = package.register()
    changed = {**settings.OAUTH2_PROVIDER, "ROTATE_REFRESH_TOKEN": False}
    with override_settings(OAUTH2_PROVIDER=changed):
        tokens = [package.sign_in(site, registered, user) for _ in range(3)]
        package.let_time_pass(minutes=90)
        run_import(package)
        before = set(RefreshToken.objects.values_list("expires_at", flat=True))
        for token in tokens:
            assert package.refresh(site, registered, token).status == 200

        with CaptureQueriesContext(connection) as queries:
            run_import(package)

    after = set(RefreshToken.objects.values_list("expires_at", flat=True))
    assert min(after) > max(before) + timedelta(hours=1)
    assert len([query for query in queries if query["sql"].startswith("UPDATE")]) == 1


def test_a_token_with_strange_characters_is_refused(site):
    registered = Toolkit().register()
    run_import(Toolkit())

    for text in ("\0", "\ud7ff\U0010ffff", "x" * 10_000):
        assert site.refresh(registered, text).status == 400


def test_a_token_of_no_family(site, user):
    from oauth2_provider.models import RefreshToken as ToolkitToken

    package = Toolkit()
    registered = package.register()
    token = package.sign_in(site, registered, user)
    ToolkitToken.objects.update(token_family=None)
    type(user).objects.update(last_login=None)
    older = package.sign_in(site, registered, user)
    ToolkitToken.objects.filter(token_family__isnull=False).update(token_family=None, revoked=timezone.now())
    type(user).objects.update(last_login=None)
    run_import(package, "--since", "2990-01-01")

    assert refused(site.refresh(registered, older))
    assert site.refresh(registered, token).status == 200
    assert RefreshToken.objects.get().auth_time == ToolkitToken.objects.earliest("pk").created


def test_when_the_toolkit_is_gone_what_was_imported_is_accepted(site, user, monkeypatch):
    package = Toolkit()
    registered = package.register()
    token = package.sign_in(site, registered, user)
    run_import(package)
    late = package.sign_in(site, registered, user)
    monkeypatch.setattr("django_ciam_token.integrations.oauth_toolkit._APP", "gone")

    assert site.refresh(registered, token).status == 200
    assert refused(site.refresh(registered, late))
    with pytest.raises(CommandError, match="gone is not in INSTALLED_APPS"):
        run_import(package)


# --- allauth ------------------------------------------------------------------------------------------------


def test_all_that_a_client_of_allauth_had_is_kept():
    registered = Allauth().register("confidential")
    run_import(Allauth())

    portal = Client.objects.get(client_id=registered.client_id)
    assert (portal.application_type, portal.scope) == ("web", "openid read")
    assert portal.redirect_uris == "https://app.example.com/callback"
    assert portal.allowed_origins == "https://app.example.com"
    assert (portal.refresh_tokens_enabled, portal.may_use_client_credentials) == (True, False)


def test_a_site_whose_tokens_have_another_hash(site, user):
    package = Allauth()
    registered = package.register()
    earlier = package.sign_in(site, registered, user)
    with override_settings(IDP_OIDC_ADAPTER="tests.migration.adapter.OtherHash"):
        imported = package.sign_in(site, registered, user)
        run_import(package)
        gradual = package.sign_in(site, registered, user)

        for token in (imported, gradual):
            first = site.refresh(registered, token).json()["refresh_token"]
            assert site.refresh(registered, token).json()["refresh_token"] == first
        # Allauth itself does not find it any more.
        assert refused(site.refresh(registered, earlier))

    package.sign_in(site, registered, user)
    run_import(package)


def test_when_allauth_is_gone_what_was_imported_is_accepted(site, user, monkeypatch):
    package = Allauth()
    registered = package.register()
    token = package.sign_in(site, registered, user)
    run_import(package)
    monkeypatch.setattr("django_ciam_token.integrations.allauth._APP", "gone")

    assert site.refresh(registered, token).status == 200
    assert refused(site.refresh(registered, "unknown"))
    with pytest.raises(CommandError, match="gone is not in INSTALLED_APPS"):
        run_import(package)


def test_tokens_of_allauth_that_were_issued_since(site, user):
    package = Allauth()
    package.sign_in(site, package.register(), user)

    assert run_import(package, "--since", "1h")["tokens_imported"] == 1


# --- simplejwt ----------------------------------------------------------------------------------------------


def forged(claims, *, headers=None):
    return jwt.encode(claims, settings.PRIVATE_KEY, algorithm="RS256", headers=headers)


def claims_of(token, **changes):
    claims = jwt.decode(token, options={"verify_signature": False})
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def test_another_signature_of_the_same_content_is_the_same_token(site, user, monkeypatch):
    """Whoever has seen one signature of ES256 can make a second: of (r, s) it is (r, n - s)."""
    from rest_framework_simplejwt.backends import TokenBackend

    package = SimpleJWT()
    registered = package.register()
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    backend = TokenBackend("ES256", pem, public)
    monkeypatch.setattr("rest_framework_simplejwt.state.token_backend", backend)
    token = backend.encode(claims_of(package.sign_in(site, registered, user)))
    site.refresh(registered, site.refresh(registered, token).json()["refresh_token"])
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    respelled = f"{signed}.{base64.urlsafe_b64encode(other).rstrip(b'=').decode()}"
    assert backend.decode(respelled) == backend.decode(token)

    assert refused(site.refresh(registered, respelled))

    assert RefreshToken.objects.get().revoked_reason == "reuse"


def test_what_is_no_refresh_token_of_simplejwt_is_refused(site, user):
    registered = SimpleJWT().register()
    token = SimpleJWT().sign_in(site, registered, user)
    now = int(timezone.now().timestamp())
    other = {"jti": "other"}
    strings = [
        "a.b.c",
        token[:-9] + "AAAAAAAA" + token[-1],
        forged(claims_of(token, token_type="access", **other)),
        forged(claims_of(token, token_type=None, **other)),
        forged(claims_of(token, exp=now - 1, **other)),
        forged(claims_of(token, exp=now + 0.5, **other)),
        forged(claims_of(token, user_id=None, **other)),
        forged(claims_of(token, user_id="999999999", **other)),
        forged(claims_of(token, user_id="somebody", **other)),
    ]

    assert all(refused(site.refresh(registered, string)) for string in strings)
    assert not RefreshToken.objects.exists()
    assert site.refresh(registered, token).status == 200


def test_a_token_without_the_claims_that_a_site_may_leave_out(site, user):
    registered = SimpleJWT().register()
    token = SimpleJWT().sign_in(site, registered, user)
    changed = {**settings.SIMPLE_JWT, "JTI_CLAIM": None, "TOKEN_TYPE_CLAIM": None}

    with override_settings(SIMPLE_JWT=changed):
        [presented] = [forged(claims_of(token, jti=None, token_type=None, iat=None))]
        first = site.refresh(registered, presented).json()["refresh_token"]

        assert site.refresh(registered, presented).json()["refresh_token"] == first


def test_a_changed_password_ends_tokens_that_say_which_it_was(site, user):
    from rest_framework_simplejwt.utils import get_md5_hash_password

    registered = SimpleJWT().register()
    token = SimpleJWT().sign_in(site, registered, user)
    kept = forged(claims_of(token, hash_password=get_md5_hash_password(user.password), jti="kept"))
    ended = forged(claims_of(token, hash_password=get_md5_hash_password("another"), jti="ended"))

    with override_settings(SIMPLE_JWT={**settings.SIMPLE_JWT, "CHECK_REVOKE_TOKEN": True}):
        assert site.refresh(registered, kept).status == 200
        assert refused(site.refresh(registered, ended))


def test_while_the_keys_can_not_be_fetched_a_token_is_not_called_wrong(site, user, monkeypatch):
    from rest_framework_simplejwt.backends import TokenBackend

    registered = SimpleJWT().register()
    token = SimpleJWT().sign_in(site, registered, user)
    backend = TokenBackend("RS256", jwk_url="http://127.0.0.1:9/keys")
    monkeypatch.setattr("rest_framework_simplejwt.state.token_backend", backend)
    named = forged(claims_of(token), headers={"kid": "one"})

    assert site.refresh(registered, named).json()["error"] == "temporarily_unavailable"
    assert refused(site.refresh(registered, "a.b.c"))


def test_a_token_of_a_key_that_is_not_among_those_fetched_is_refused(site, user, monkeypatch):
    from rest_framework_simplejwt.backends import TokenBackend

    registered = SimpleJWT().register()
    token = SimpleJWT().sign_in(site, registered, user)
    backend = TokenBackend("RS256", jwk_url=f"{site.url}/oauth2/jwks")
    monkeypatch.setattr("rest_framework_simplejwt.state.token_backend", backend)

    assert refused(site.refresh(registered, forged(claims_of(token), headers={"kid": "another"})))


def test_tokens_of_simplejwt_that_were_issued_since(site, user):
    SimpleJWT().sign_in(site, SimpleJWT().register(), user)

    assert run_import(SimpleJWT(), "--since", "1h")["tokens_imported"] == 1


def test_what_the_tokens_are_worth_and_whose_they_are_can_be_said(user):
    SimpleJWT().register()
    named = {"simplejwt": {"client_id": "jwt-portal", "scope": "openid read"}}
    with override_settings(CIAM_TOKEN={**settings.CIAM_TOKEN, "FOREIGN_TOKENS": named}):
        assert run_import(SimpleJWT())["tokens_imported"] == 0
        assert list(formats()["simplejwt"].scopes()) == ["openid", "read"]
    with without("simplejwt"):
        assert run_import(SimpleJWT(), "--client", "jwt-portal")["tokens_imported"] == 0
        with pytest.raises(CommandError, match="client_id"):
            run_import(SimpleJWT())


def test_sliding_tokens_are_passed_over(site, user):
    from rest_framework_simplejwt.tokens import SlidingToken

    SimpleJWT().register()
    SlidingToken.for_user(user)

    assert run_import(SimpleJWT())["tokens_imported"] == 0


def test_an_identity_of_another_format_is_not_judged():
    assert formats()["simplejwt"].find(ForeignIdentity(known_by=b"x", secret=b"x")) is None


def test_an_expired_token_is_ended():
    SimpleJWT().register()
    user = UserFactory()
    from rest_framework_simplejwt.tokens import RefreshToken as JWTRefreshToken

    token = JWTRefreshToken.for_user(user)
    token.set_exp(lifetime=timedelta(seconds=-5))
    one = formats()["simplejwt"]

    assert isinstance(one.find(one.identify(Concealed(str(token)))), EndedToken)


# --- the command --------------------------------------------------------------------------------------------


def test_it_says_what_it_did_and_what_is_to_be_done(site, user):
    package = Toolkit()
    from oauth2_provider.models import Application

    Application.objects.create(
        client_id="https://client.example.com/metadata",
        client_type="public",
        authorization_grant_type="password",
    )
    registered = package.register()
    package.sign_in(site, registered, user)
    package.let_time_pass(days=15)
    package.sign_in(site, registered, user)
    Client.objects.all().delete()

    with without("oauth_toolkit"):
        tried, _ = run("oauth_toolkit", "--dry-run")
        done, errors = run("oauth_toolkit", "--verbosity", "2")

    assert tried.startswith("Would do: 1 client and 1 token imported")
    assert done.startswith("Done: 1 client and 1 token imported, 0 clients and 0 tokens known before, ")
    assert "1 client and 1 token left out" in done
    assert "  https://client.example.com/metadata: left out: client_id: Use only letters" in done
    assert "  1 token left out: it has expired" in done
    assert errors.startswith("So far: ")
    assert "add 'oauth_toolkit' to CIAM_TOKEN['FOREIGN_TOKENS']" in errors


def test_it_says_how_many_sessions_end_earlier(site, user):
    package = Allauth()
    package.sign_in(site, package.register(), user)

    output, errors = run("allauth")

    assert "1 session shorter than in the other system" in output
    assert errors == ""


def test_scopes_must_be_there_first():
    fewer = {**settings.CIAM_TOKEN, "SCOPES": {"openid": "Sign you in"}}

    with (
        override_settings(CIAM_TOKEN=fewer),
        pytest.raises(CommandError, match=r"SCOPES'. first: read, write"),
    ):
        run("oauth_toolkit")


def test_what_is_known_of_the_tokens_can_be_forgotten_when_the_move_is_over(site, user):
    package = Toolkit()
    package.sign_in(site, package.register(), user)
    run_import(package)

    with pytest.raises(CommandError, match="Take 'oauth_toolkit' out of"):
        run("oauth_toolkit", "--forget")
    with without("oauth_toolkit"):
        assert run("oauth_toolkit", "--forget")[0] == "Forgot 1 token of oauth_toolkit.\n"
        assert json.loads(run("oauth_toolkit", "--forget", "--json")[0]) == {"forgotten": 0}
    assert RefreshToken.objects.exists()


def test_only_the_tokens_of_one_package_are_forgotten(site, user):
    for package in (Toolkit(), Allauth()):
        package.sign_in(site, package.register(), user)
        run_import(package)

    with without("oauth_toolkit"):
        assert run("oauth_toolkit", "--forget")[0] == "Forgot 1 token of oauth_toolkit.\n"
        assert run("oauth_toolkit", "--forget")[0] == "Forgot 0 tokens of oauth_toolkit.\n"

    assert ForeignToken.objects.get().format == "allauth"


def test_what_was_imported_is_read_by_its_key_alone(site, user):
    """A condition on anything else has PostgreSQL sort the table for each batch, until it has analyzed it."""
    package = Toolkit()
    package.sign_in(site, package.register(), user)
    read = {}
    for run_of in ("first", "second"):
        with CaptureQueriesContext(connection) as queries:
            run_import(package)
        statements = [query["sql"] for query in queries if "django_ciam_token_foreigntoken" in query["sql"]]
        read[run_of] = [sql for sql in statements if sql.startswith("SELECT") and "ORDER BY" in sql]

    assert read["first"] == []
    assert len(read["second"]) == 2
    assert not any("format" in sql.partition("WHERE")[2] for sql in read["second"])


def test_a_refusing_database_is_reported_and_the_rest_can_be_done_later(site, user, monkeypatch):
    package = Toolkit()
    package.sign_in(site, package.register(), user)
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: None)

    def refuse(*args, **kwargs):
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(importing, "adopt", lambda *args, **kwargs: retry.retry(refuse, using="default"))
        with pytest.raises(CommandError, match=r"1 client and 0 tokens imported.* Run it again to continue"):
            run("oauth_toolkit")

    assert run_import(package)["tokens_imported"] == 1


def test_a_dry_run_drops_nothing(site, user):
    package = Toolkit()
    registered = package.register()
    token = package.sign_in(site, registered, user)
    run_import(package)
    package.refresh(site, registered, token)

    assert run_import(package, "--dry-run")["sessions_dropped"] == 1
    assert RefreshToken.objects.count() == 1


def test_what_was_used_here_is_not_looked_at_again(site, user):
    package = Toolkit()
    registered = package.register()
    token = package.sign_in(site, registered, user)
    run_import(package)
    site.refresh(registered, token)
    package.refresh(site, registered, token)

    done = run_import(package)

    assert (done["sessions_dropped"], done["tokens_imported"]) == (0, 1)


def test_more_tokens_take_more_batches_and_no_more_statements_in_each(site, user):
    from oauth2_provider.models import AccessToken, Application
    from oauth2_provider.models import RefreshToken as ToolkitToken

    registered = Toolkit().register()
    application = Application.objects.get(client_id=registered.client_id)

    def issue(number):
        expires = timezone.now() + timedelta(hours=1)
        for _ in range(number):
            name = str(ToolkitToken.objects.count())
            access = AccessToken.objects.create(
                user=user, application=application, token=f"a{name}", expires=expires, scope="openid"
            )
            ToolkitToken.objects.create(
                user=user, application=application, token=f"r{name}", access_token=access
            )

    def statements(number):
        issue(number)
        with CaptureQueriesContext(connection) as queries:
            run_import(Toolkit(), "--batch-size", "100")
        return len(queries)

    run_import(Toolkit())
    statements(1)
    assert statements(2) == statements(40)


@pytest.mark.parametrize(
    "row", [{"token": "abc"}, {"token": "abc", "token_checksum": ""}, {"token_checksum": ABC}]
)
def test_the_digest_of_a_toolkit_token_is_that_of_its_text_however_it_is_stored(row):
    assert oauth_toolkit._digest(row).hex() == ABC
