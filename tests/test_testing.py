"""What the helpers promise to the tests of a site, tried on views of a site and on our endpoints."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone

import freezegun
import pytest
import time_machine
from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connections
from django.template import Context, Template
from django.test import AsyncClient, AsyncRequestFactory, RequestFactory
from django.test import Client as Browser
from django.urls import include, path
from django.utils import timezone
from django.utils.timezone import now as bound_now
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from django_ciam_token.api import SessionCriteria, issue_tokens, list_sessions, rotate_signing_key
from django_ciam_token.crypto import jose
from django_ciam_token.errors import InvalidScope
from django_ciam_token.keys import key_set
from django_ciam_token.models import Client, RefreshToken, SigningKey
from django_ciam_token.resource_server import AccessTokenAuthentication, MachineUser, TokenHasScopes
from django_ciam_token.sessions.criteria import select_sessions
from django_ciam_token.testing import (
    access_token,
    authenticate,
    database_follows_clock,
    live_token,
    post_form,
    time_travel,
)
from tests.factories import ClientFactory

TOKEN_URL = "/oauth2/token"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ISSUER = "https://id.example.com"


class Orders(APIView):
    """Protected by what the site has as its defaults, and by a scope."""

    authentication_classes = [AccessTokenAuthentication]
    permission_classes = [IsAuthenticated, TokenHasScopes]
    required_scopes = {"GET": ["orders:read"], "POST": ["orders:read", "orders:write"]}

    def get(self, request):
        token = request.auth.verified
        return Response({"user": str(request.user), "sub": token.claims["sub"], "scope": token.scope})

    post = get


urlpatterns = [
    path("orders", Orders.as_view()),
    path("admin/", admin.site.urls),
    path("", include("django_ciam_token.urls")),
]


@pytest.fixture(autouse=True)
def _site(settings):
    settings.CIAM_TOKEN = {
        "ISSUER": ISSUER,
        "SCOPES": {name: name for name in ("openid", "profile", "email", "orders:read", "orders:write")},
    }
    settings.ROOT_URLCONF = __name__


def refresh(client: Client, refresh_token, **parameters):
    form = {"grant_type": "refresh_token", "client_id": client.client_id, "refresh_token": refresh_token}
    return post_form(Browser(), TOKEN_URL, form | parameters)


@pytest.fixture
def spa(db):
    return ClientFactory(application_type="spa", scope="openid")


# An authenticated client.


@pytest.mark.django_db
@pytest.mark.parametrize("sender", [Browser, APIClient])
def test_a_test_client_is_authenticated_for_orders_by_scope(sender, user):
    browser = sender()
    authenticate(browser, user, scope="orders:read")

    read, write = browser.get("/orders"), browser.post("/orders")

    assert read.status_code == 200
    assert read.json() == {"user": user.username, "sub": str(user.pk), "scope": ["orders:read"]}
    assert write.status_code == 403
    assert write["WWW-Authenticate"] == (
        'Bearer realm="api", error="insufficient_scope", scope="orders:read orders:write"'
    )


@pytest.mark.django_db
@pytest.mark.parametrize("factory", [RequestFactory, APIRequestFactory, AsyncRequestFactory])
def test_a_request_factory_makes_requests_for_orders_that_are_authenticated(factory, user):
    requests = factory()
    authenticate(requests, user, scope="orders:read orders:write")

    for method in ("get", "post"):
        assert Orders.as_view()(getattr(requests, method)("/orders")).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_asynchronous_client_is_authenticated_for_orders_too(user):
    async def status():
        browser = AsyncClient()
        await sync_to_async(authenticate)(browser, user, scope="orders:read")
        answer = await browser.get("/orders")
        await sync_to_async(connections.close_all)()
        return answer.status_code

    assert asyncio.run(status()) == 200


@pytest.mark.django_db
def test_a_client_of_django_rest_framework_drops_the_token_for_orders_at_its_logout(user):
    browser = APIClient()
    authenticate(browser, user, scope="orders:read")

    browser.logout()

    assert browser.get("/orders").status_code == 401


@pytest.mark.django_db
def test_a_real_token_for_orders_is_refused_for_real_reasons(user):
    browser = Browser()
    authenticate(browser, user, scope="orders:read")
    user.set_password("another")
    user.save()

    assert browser.get("/orders").status_code == 401


@pytest.mark.django_db
def test_a_machine_is_authenticated_for_orders_without_a_user():
    browser = Browser()
    authenticate(browser, scope="orders:read")

    assert browser.get("/orders").json()["sub"] == "tests-m2m"


@pytest.mark.django_db
def test_a_client_of_the_site_may_be_named_for_orders(user, settings):
    portal = ClientFactory(scope="openid orders:read")
    token = access_token(user, scope="orders:read", client=portal)

    answer = Browser().get("/orders", headers={"Authorization": f"Bearer {token}"})

    assert answer.json()["scope"] == ["orders:read"]
    assert RefreshToken.objects.get().client == portal
    for scope in ("orders:write", ""):
        with pytest.raises(InvalidScope):
            access_token(user, scope=scope, client=portal)


@pytest.mark.django_db
def test_the_client_of_the_helpers_may_have_what_it_was_asked_for_orders(user):
    first, second = Browser(), Browser()
    authenticate(first, user, scope="orders:read")
    authenticate(second, user, scope="openid")

    # A token is refused as soon as its client may no longer have its scope.
    assert first.get("/orders").status_code == 200
    assert second.get("/orders").status_code == 403
    assert Client.objects.get().scopes == ("orders:read", "openid")


@pytest.mark.django_db
def test_a_scope_for_orders_that_the_site_does_not_know_is_a_mistake_in_the_test(user):
    for make in (access_token, live_token):
        with pytest.raises(ValidationError, match="Unknown scope order:read"):
            make(user, scope="order:read")
        with pytest.raises(ValidationError):
            make(user, scope="")


@pytest.mark.django_db
def test_the_token_for_orders_has_an_audience_that_the_site_accepts(user, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "RESOURCE_AUDIENCES": ["https://api.example.com"]}
    browser = Browser()
    authenticate(browser, user, scope="orders:read")

    assert browser.get("/orders").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("age", [timedelta(minutes=4), timedelta(minutes=6), timedelta(days=400)])
def test_an_access_token_for_orders_may_be_of_any_age(user, age):
    browser = Browser()
    authenticate(browser, user, scope="orders:read", age=age)
    answer = browser.get("/orders")
    session = RefreshToken.objects.get()

    assert answer.status_code == (200 if age < timedelta(minutes=5) else 401)
    assert abs(timezone.now() - session.issued_at - age) < timedelta(seconds=30)
    assert session.auth_time == session.issued_at
    assert session.expires_at == session.issued_at + DAY


# What `force_authenticate` needs.


def test_a_forced_token_for_orders_needs_neither_database_nor_key(user_without_row):
    # No django_db mark: a query would fail.
    for scope, status in (("orders:read", 200), ("openid", 403)):
        request = APIRequestFactory().get("/orders")
        force_authenticate(request, user_without_row, token=live_token(user_without_row, scope=scope))

        assert Orders.as_view()(request).status_code == status


@pytest.fixture
def user_without_row():
    return get_user_model()(pk=7, username="alice")


def test_a_forced_client_reads_orders(user_without_row):
    browser = APIClient()
    browser.force_authenticate(user_without_row, token=live_token(user_without_row, scope="orders:read"))

    assert browser.get("/orders").json() == {"user": "alice", "sub": "7", "scope": ["orders:read"]}


def test_a_forced_machine_reads_orders():
    browser, token = APIClient(), live_token(scope="orders:read")
    browser.force_authenticate(MachineUser(token.client), token=token)

    assert browser.get("/orders").json()["user"] == "tests-m2m"


@pytest.mark.parametrize("profile", ["ciam", "rfc9068"])
def test_a_forced_token_is_formed_like_one_that_was_verified(user_without_row, profile, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_PROFILE": profile}
    before = int(time.time()) - 60
    token = live_token(user_without_row, scope="openid orders:read", age=timedelta(minutes=1))
    verified = token.verified

    assert verified.client_id == token.client.client_id == "tests-web"
    assert verified.scope == ("openid", "orders:read")
    assert verified.jti == uuid.UUID(verified.claims["jti"])
    assert verified.session_id == uuid.UUID(verified.claims["sid"])
    assert before <= verified.claims["iat"] == verified.claims["exp"] - 300 <= before + 5
    assert token.user is user_without_row


def test_a_forced_token_keeps_to_the_scope_of_a_client(user_without_row):
    client = Client(client_id="portal", application_type="web", scope="openid")

    assert live_token(user_without_row, scope="openid", client=client).client is client
    with pytest.raises(InvalidScope):
        live_token(user_without_row, scope="orders:read", client=client)


# Forms.


@pytest.mark.django_db
@pytest.mark.parametrize("poster", [Browser, APIClient])
def test_a_form_is_posted_as_the_endpoints_read_it(poster, spa, user):
    token = issue_tokens(client=spa, user=user)["refresh_token"]
    form = {"grant_type": "refresh_token", "client_id": spa.client_id, "refresh_token": token, "x-ü": "&="}

    multipart, answer = poster().post(TOKEN_URL, form), post_form(poster(), TOKEN_URL, form)

    assert multipart.status_code == 415
    assert "django_ciam_token.testing.post_form" in multipart.json()["error_description"]
    assert answer.status_code == 200


@pytest.mark.django_db
def test_a_form_takes_headers_as_the_test_client_does(web_client, user):
    revoked = post_form(
        Browser(),
        "/oauth2/revoke",
        {"token": str(issue_tokens(client=web_client, user=user, scope="openid")["refresh_token"])},
        headers={"Authorization": basic(web_client)},
    )

    assert (revoked.status_code, RefreshToken.objects.get().revoked_reason) == (200, "client")


def basic(client):
    credentials = f"{client.client_id}:{client.plain_secret}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


# Time.


def clocks():
    ours = timezone.now().timestamp()
    return [ours, bound_now().timestamp(), time.time(), time.time_ns() / 1e9]


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("delta", [DAY, -400 * DAY, timedelta(microseconds=-1)])
def test_all_clocks_of_the_process_move_together(delta, use_tz, settings):
    settings.USE_TZ = use_tz
    before = time.time()

    with time_travel(delta):
        moved = clocks()
    back = clocks()

    assert moved == [pytest.approx(before + delta.total_seconds(), abs=5)] * 4
    assert back == [pytest.approx(before, abs=5)] * 4


def test_journeys_add_up():
    before = time.time()

    with time_travel(DAY), time_travel(HOUR - DAY):
        assert clocks() == [pytest.approx(before + 3600, abs=5)] * 4


def test_an_error_ends_a_journey():
    before = time.time()

    with pytest.raises(KeyError), time_travel(DAY):
        raise KeyError

    assert clocks() == [pytest.approx(before, abs=5)] * 4


def test_templates_know_a_time_when_they_see_one_on_a_journey(settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    noon = datetime(2024, 1, 1, 12, tzinfo=datetime_timezone.utc)

    with time_travel(DAY):
        assert Template("{{ noon|date:'H:i' }}").render(Context({"noon": noon})) == "21:00"


@pytest.mark.django_db
def test_the_grace_period_passes_on_a_journey(spa, user):
    first = issue_tokens(client=spa, user=user)["refresh_token"]
    assert refresh(spa, first).status_code == 200

    with time_travel(timedelta(seconds=20)):
        within = refresh(spa, first)
    with time_travel(timedelta(seconds=40)):
        after = refresh(spa, first)

    assert within.status_code == 200
    assert (after.status_code, after.json()) == (400, {"error": "invalid_grant"})
    assert RefreshToken.objects.get().revoked_reason == "reuse"


@pytest.mark.django_db
@pytest.mark.parametrize(("use_tz", "zone"), [(True, "Asia/Tokyo"), (False, "Asia/Tokyo")])
def test_a_rotation_on_a_journey_is_as_old_as_it_seems(spa, user, settings, use_tz, zone):
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone
    with time_travel(-HOUR):
        first = issue_tokens(client=spa, user=user)["refresh_token"]
        second = refresh(spa, first).json()["refresh_token"]
        assert refresh(spa, first).json()["refresh_token"] == second

    with time_travel(timedelta(minutes=-30)):
        assert not select_sessions(SessionCriteria(idle_since=timezone.now() - HOUR)).exists()
        assert select_sessions(SessionCriteria(idle_since=timezone.now() - HOUR / 3)).exists()
    # And so it is by the database's own clock.
    assert not select_sessions(SessionCriteria(idle_since=timezone.now() - 2 * HOUR)).exists()
    assert select_sessions(SessionCriteria(idle_since=timezone.now() - HOUR / 2)).exists()
    assert refresh(spa, first).status_code == 400


@pytest.mark.django_db
def test_a_refresh_token_expires_on_a_journey(spa, user):
    token = issue_tokens(client=spa, user=user)["refresh_token"]

    with time_travel(DAY - HOUR):
        token = refresh(spa, token).json()["refresh_token"]
    with time_travel(2 * DAY - 2 * HOUR):
        token = refresh(spa, token).json()["refresh_token"]
    with time_travel(4 * DAY):
        assert refresh(spa, token).status_code == 400


@pytest.mark.django_db
def test_a_refresh_token_may_be_of_any_age(spa, user):
    with time_travel(-timedelta(hours=23)):
        young = issue_tokens(client=spa, user=user)["refresh_token"]
    with time_travel(-timedelta(hours=25)):
        old = issue_tokens(client=spa, user=user)["refresh_token"]

    assert (refresh(spa, young).status_code, refresh(spa, old).status_code) == (200, 400)


@pytest.mark.django_db
def test_lists_of_sessions_can_be_seen_on_a_journey(spa, user, operator):
    token = issue_tokens(client=spa, user=user)["refresh_token"]
    with time_travel(HOUR):
        refresh(spa, token)
    with time_travel(2 * HOUR):
        [session] = list_sessions(user=user)
        page = operator.get(f"/admin/django_ciam_token/refreshtoken/{session.session_id}/change/")
        pages = [operator.get(f"/admin/django_ciam_token/{name}") for name in ("", "refreshtoken/")]

    assert abs(session.last_refreshed_at - session.started_at - HOUR) < timedelta(seconds=5)
    assert [page.status_code, *(page.status_code for page in pages)] == [200, 200, 200]


@pytest.mark.django_db
def test_the_key_of_a_time_is_the_one_that_signed_then():
    [first] = SigningKey.objects.all()
    with time_travel(10 * DAY):
        second = rotate_signing_key(algorithm="ES256")

    def signs(delta):
        with time_travel(delta):
            return key_set.current().signing_pair(timezone.now()).kid

    assert [signs(delta * DAY) for delta in (-1000, 0, 9, 11)] == [
        first.kid,
        first.kid,
        first.kid,
        second.kid,
    ]


def published_kids():
    return [key["kid"] for key in key_set.current().jwk_set(timezone.now())["keys"]]


@pytest.mark.django_db
def test_a_key_that_is_removed_in_the_future_is_there_in_the_present():
    [first] = SigningKey.objects.all()
    rotate_signing_key(algorithm="ES256", immediately=True)
    with time_travel(DAY):
        key_set.forget()
        assert first.kid not in published_kids()

    assert first.kid in published_kids()


@pytest.mark.django_db
def test_without_a_key_there_is_none_on_a_journey_either():
    SigningKey.objects.all().delete()
    key_set.forget()

    with time_travel(-DAY):
        assert key_set.active_key([], timezone.now()) is None


@pytest.mark.django_db
def test_a_key_that_was_retired_does_not_sign_in_the_future():
    SigningKey.objects.update(retired_at=timezone.now())
    keys = SigningKey.objects.all()

    with time_travel(DAY):
        assert key_set.active_key(keys, timezone.now()) is None


# Other ways to move the clock of the process.


def frozen_by_freezegun(delta):
    return freezegun.freeze_time(datetime.now(datetime_timezone.utc) + delta)


def moved_by_time_machine(delta):
    return time_machine.travel(datetime.now(datetime_timezone.utc) + delta)


OTHERS = pytest.mark.parametrize("moved", [frozen_by_freezegun, moved_by_time_machine])


@OTHERS
@pytest.mark.django_db
def test_where_only_the_process_s_clock_moves_lifetimes_follow_and_the_grace_period_does_not(
    spa, user, moved
):
    first = issue_tokens(client=spa, user=user)["refresh_token"]
    second = refresh(spa, first).json()["refresh_token"]

    with moved(HOUR):
        assert refresh(spa, first).json()["refresh_token"] == second
    with moved(2 * DAY):
        assert refresh(spa, second).status_code == 400
    assert RefreshToken.objects.get().revoked_at is None


@OTHERS
@pytest.mark.django_db
def test_the_database_can_be_told_to_follow(spa, user, moved):
    first = issue_tokens(client=spa, user=user)["refresh_token"]
    refresh(spa, first)

    with moved(timedelta(seconds=20)), database_follows_clock():
        assert refresh(spa, first).status_code == 200
    with moved(HOUR), database_follows_clock():
        assert refresh(spa, first).status_code == 400

    assert RefreshToken.objects.get().revoked_reason == "reuse"


@OTHERS
@pytest.mark.django_db
def test_a_journey_may_begin_wherever_the_clock_is(spa, user, moved):
    first = issue_tokens(client=spa, user=user)["refresh_token"]
    refresh(spa, first)

    with moved(-HOUR), time_travel(HOUR):
        assert clocks() == [pytest.approx(datetime.now(datetime_timezone.utc).timestamp() + 3600, abs=5)] * 4
        assert refresh(spa, first).status_code == 200


@pytest.mark.django_db
def test_the_clock_may_be_moved_while_the_database_follows(spa, user):
    with time_machine.travel(datetime.now(datetime_timezone.utc)) as traveller, database_follows_clock():
        first = issue_tokens(client=spa, user=user)["refresh_token"]
        refresh(spa, first)
        traveller.shift(20)
        assert refresh(spa, first).status_code == 200
        traveller.shift(20)
        assert refresh(spa, first).status_code == 400


# Keys.


@pytest.mark.django_db(transaction=True)
def test_a_flush_makes_a_key_of_the_algorithm_that_the_test_settings_name(settings, monkeypatch):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SIGNING_ALGORITHM": "ES256"}
    made = []
    generate = jose.generate_private_key
    monkeypatch.setattr(jose, "generate_private_key", lambda name: made.append(name) or generate(name))

    call_command("flush", interactive=False, verbosity=0)

    assert SigningKey.objects.get().algorithm == "ES256"
    assert made == ["ES256"]
