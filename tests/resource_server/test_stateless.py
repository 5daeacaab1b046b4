"""Views that accept a token without asking the database."""

from __future__ import annotations

import copy
import pickle

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.urls import path
from django.utils import timezone
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from django_ciam_token.api import issue_tokens
from django_ciam_token.errors import InvalidToken
from django_ciam_token.keys import key_set
from django_ciam_token.models import RefreshToken
from django_ciam_token.resource_server import (
    AccessTokenAuthentication,
    MachineUser,
    StatelessAccessTokenAuthentication,
    accept_unread,
    has_scopes,
)
from django_ciam_token.resource_server.acceptance import user_of
from django_ciam_token.resource_server.lazy_user import LazyUser
from django_ciam_token.tokens import access_tokens
from tests.factories import ClientFactory, UserFactory
from tests.resource_server.conftest import (
    EXPIRED,
    Whoami,
    assert_insufficient,
    assert_refused,
    configure,
    get,
    in_seconds,
    resign,
    view,
)

pytestmark = pytest.mark.django_db


class Bare(APIView):
    authentication_classes = [StatelessAccessTokenAuthentication]
    permission_classes = [IsAuthenticated, has_scopes("openid")]

    def get(self, request):
        return Response({"scope": request.auth.verified.scope})


class Key(Bare):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        assert isinstance(request.user, get_user_model())
        _, parameters = LogEntry.objects.filter(user=request.user).query.sql_with_params()
        return Response({"pk": request.user.pk, "id": request.user.id, "asked_for": parameters})


urlpatterns = [
    path("bare", Bare.as_view()),
    path("key", Key.as_view()),
    path("orders", view(has_scopes("orders"), base=Bare)),
    path("whoami", Whoami.as_view(authentication_classes=[StatelessAccessTokenAuthentication])),
    path("by-setting", Bare.as_view(authentication_classes=[AccessTokenAuthentication])),
]


@pytest.fixture(autouse=True)
def _keys_are_read(db):
    key_set.current()


def unread(token):
    live = accept_unread(token, now=timezone.now())
    return live, user_of(live)


def test_a_request_makes_no_query(access_token, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert get("/bare", access_token).json() == {"scope": ["openid", "profile", "email"]}
        assert_insufficient(get("/orders", access_token), "orders")


def test_the_users_key_is_known_without_a_query(user, access_token, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert get("/key", access_token).json() == {"pk": user.pk, "id": user.pk, "asked_for": [user.pk]}


def test_the_setting_makes_every_view_stateless(settings, access_token, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert get("/by-setting", access_token).status_code == 200
    configure(settings, RESOURCE_STATELESS=True)
    with django_assert_num_queries(0):
        assert get("/by-setting", access_token).status_code == 200


def test_a_view_may_say_otherwise_than_the_setting(settings, access_token, django_assert_num_queries):
    configure(settings, RESOURCE_STATELESS=True)

    class Checking(AccessTokenAuthentication):
        stateless = False

    settings.ROOT_URLCONF = type(
        "urls", (), {"urlpatterns": [path("", view(authentication_classes=[Checking]))]}
    )

    with django_assert_num_queries(1):
        assert get("/", access_token).status_code == 200


def test_who_asks_for_more_has_the_user_read_in_one_statement(user, access_token, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert get("/whoami", access_token).json() == {"user": user.username, "pk": user.pk}


def test_client_and_user_of_the_token_are_read_together(
    web_client, user, access_token, django_assert_num_queries
):
    live, request_user = unread(access_token)

    with django_assert_num_queries(1):
        assert live.client == web_client
        assert live.user == user
        assert request_user.username == user.username
        assert str(request_user) == user.username


def test_what_ended_is_seen_when_the_token_expires(access_token):
    RefreshToken.objects.update(revoked_at=timezone.now())

    assert get("/bare", access_token).status_code == 200
    assert_refused(get("/bare", resign(access_token, exp=in_seconds(-1))), EXPIRED)


def test_what_ended_is_seen_by_who_reads_the_user(access_token):
    RefreshToken.objects.update(revoked_at=timezone.now())

    assert_refused(get("/whoami", access_token))


def test_if_the_user_can_not_be_read_the_answer_is_503(access_token, monkeypatch):
    def fail(*arguments, **others):
        raise OperationalError("gone")

    monkeypatch.setattr(access_tokens, "read_token_of_session", fail)

    assert get("/bare", access_token).status_code == 200
    assert get("/whoami", access_token).status_code == 503


def test_a_forged_token_is_refused(access_token):
    assert_refused(get("/bare", access_token[:-8] + "AAAAAAAA"))
    assert_refused(get("/bare", resign(access_token, iss="https://other.example")))


@pytest.mark.parametrize("audiences", [None, ["https://api.example.com"]])
def test_the_audience_counts(settings, user, access_token, audiences):
    for_api = issue_tokens(client=ClientFactory(audience="https://api.example.com"), user=user)[
        "access_token"
    ]
    configure(settings, RESOURCE_AUDIENCES=audiences)

    accepted, refused = (access_token, for_api) if audiences is None else (for_api, access_token)

    assert get("/bare", accepted).status_code == 200
    assert_refused(get("/bare", refused))


# Whom the token names


@pytest.mark.parametrize("refresh_tokens_enabled", [True, False])
def test_a_machine_is_read_to_know_that_it_is_one(django_assert_num_queries, refresh_tokens_enabled):
    machine = ClientFactory(application_type="m2m", refresh_tokens_enabled=refresh_tokens_enabled)
    token = issue_tokens(client=machine)["access_token"]

    with django_assert_num_queries(0):
        assert get("/bare", token).status_code == 200
    with django_assert_num_queries(1):
        live, user = unread(token)
        assert user.pk == f"client:{machine.client_id}"
        assert isinstance(user, MachineUser)
    assert live.user is None


def test_a_user_who_is_called_like_the_client_is_no_machine(settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SUBJECT": lambda user: user.username}
    portal = ClientFactory(application_type="spa", client_id="portal")
    user = UserFactory(username="portal")

    _, seen = unread(issue_tokens(client=portal, user=user)["access_token"])

    assert seen == user
    assert not isinstance(seen, MachineUser)


def test_what_a_site_calls_its_users_is_not_taken_for_a_key(
    settings, user, web_client, django_assert_num_queries
):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SUBJECT": lambda user: str(user.pk + 1)}
    token = issue_tokens(client=web_client, user=user)["access_token"]

    with django_assert_num_queries(1):
        assert unread(token)[1].pk == user.pk


def test_a_sub_that_is_no_key_is_refused(access_token):
    assert_refused(get("/bare", resign(access_token, sub="alice")))


# The lazy user


def test_a_lazy_user_is_compared_and_hashed_by_its_key(user, access_token, django_assert_num_queries):
    _, seen = unread(access_token)
    other = UserFactory()

    with django_assert_num_queries(0):
        assert seen == user
        assert user == seen
        assert seen != other
        assert {user: 1}[seen] == 1
        assert seen
        assert repr(seen) == "<LazyUser, not read>"
        entry = LogEntry(user_id=seen.pk)
    assert entry.user_id == user.pk
    assert seen.get_username() == user.username
    assert repr(seen) == f"<LazyUser: {user!r}>"
    assert (seen == user, seen != user, isinstance(seen, get_user_model()), seen.pk) == (
        True,
        False,
        True,
        user.pk,
    )


def test_a_lazy_user_can_be_copied_pickled_and_changed(user, access_token):
    _, seen = unread(access_token)

    assert copy.copy(seen).username == user.username
    assert pickle.loads(pickle.dumps(seen)) == user  # noqa: S301
    seen.first_name = "Alice"
    assert seen.first_name == "Alice"


def test_a_lazy_user_whose_key_is_unknown_is_read_for_everything_but_being_signed_in(user):
    read = []
    lazy = LazyUser(lambda: read.append(1) or user, model=get_user_model(), pk=None)

    assert lazy.is_authenticated is True
    assert lazy.is_anonymous is False
    assert lazy
    assert not read
    assert lazy == user
    assert read == [1]


def test_class_of_an_unknown_lazy_user_is_that_of_who_is_read(user):
    assert isinstance(LazyUser(lambda: user, model=get_user_model(), pk=None), get_user_model())


def test_the_repr_of_an_unread_token_reads_nothing(access_token, django_assert_num_queries):
    live, _ = unread(access_token)

    with django_assert_num_queries(0):
        assert repr(live).startswith("UnreadAccessToken(verified=VerifiedAccessToken(client_id=")
    assert access_token not in repr(live)


def test_without_a_view_the_reasons_are_those_of_the_service(access_token):
    live, _ = unread(access_token)
    RefreshToken.objects.update(revoked_at=timezone.now())

    with pytest.raises(InvalidToken) as caught:
        live.client  # noqa: B018
    assert caught.value.reason == "revoked"
