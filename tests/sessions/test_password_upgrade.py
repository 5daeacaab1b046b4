"""A password whose hash is upgraded at a login is the same password: no session ends, whatever races it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate, get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.contrib.auth.models import User
from django.db import OperationalError, ProgrammingError, connection, connections, transaction
from django.db.models import QuerySet
from django.db.models.signals import post_save

from django_ciam_token.api import issue_tokens
from django_ciam_token.keys import key_set
from django_ciam_token.models import RefreshToken
from django_ciam_token.sessions import password_upgrade
from django_ciam_token.sessions.auth_hash import session_auth_hash
from django_ciam_token.sessions.password_upgrade import keep_sessions_at_upgrades

pytestmark = pytest.mark.django_db

RAW = "correct horse"
PBKDF2 = "django.contrib.auth.hashers.PBKDF2PasswordHasher"


@pytest.fixture(autouse=True)
def release_django(
    user: User, first_tokens: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Return a function that raises the iterations, as releases of Django do.

    The user and the session are from before another hash became the first.
    """
    assert user.password.startswith("md5$")
    settings.PASSWORD_HASHERS = [PBKDF2, *settings.PASSWORD_HASHERS]
    iterations = [1]
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1)

    def release_django() -> None:
        iterations[0] += 1
        monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", iterations[0])

    return release_django


@pytest.fixture
def token(first_tokens: dict[str, Any]) -> Any:
    """The refresh token of a session that began before the release."""
    return first_tokens["refresh_token"]


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


def log_in(user: User) -> User:
    found = authenticate(username=user.username, password=RAW)
    assert found == user
    return found


def goes_on(client: Any, token: Any, refresh: Any, *, times: int = 2) -> Any:
    """Refresh more than once: what a rotation wrote shows at the next. Return the last token."""
    for _ in range(times):
        answer = refresh(client, token)
        assert (answer.status_code, answer.json().get("error")) == (200, None)
        token = answer.json()["refresh_token"]
    return token


def has_ended(client: Any, token: Any, refresh: Any) -> bool:
    return refresh(client, token).json() == {"error": "invalid_grant"}


# --- an upgrade ------------------------------------------------------------------------------------


def test_an_upgrade_at_a_login_ends_no_session(web_client, user, token, refresh):
    log_in(user)

    assert fresh(user).password.startswith("pbkdf2_sha256$1$")
    goes_on(web_client, token, refresh)


def test_an_upgrade_under_asgi_ends_no_session(web_client, user, token, refresh):
    assert async_to_sync(aauthenticate)(username=user.username, password=RAW) == user

    assert fresh(user).password.startswith("pbkdf2_sha256$1$")
    goes_on(web_client, token, refresh)


def test_every_further_upgrade_ends_none_either(web_client, user, token, refresh, release_django):
    for _ in range(3):
        log_in(user)
        token = goes_on(web_client, token, refresh, times=1)
        release_django()
        log_in(user)
        release_django()

    goes_on(web_client, token, refresh)


def test_a_session_that_was_not_refreshed_since_the_first_version_is_carried_over(
    web_client, user, token, refresh
):
    RefreshToken.objects.update(session_auth_hash=password_upgrade_of_the_first_version(user))

    log_in(user)

    goes_on(web_client, token, refresh)


def password_upgrade_of_the_first_version(user):
    *_, first_version = password_upgrade.every_auth_hash(user)
    assert len(first_version) == 64
    return first_version


def test_an_upgrade_costs_three_statements_more(user, token, django_assert_num_queries):
    user.refresh_from_db()

    # BEGIN and COMMIT, the keys, the hash that is compared, Django's own UPDATE, the sessions.
    with django_assert_num_queries(6) as queries:
        assert user.check_password(RAW)

    assert sum(query["sql"].startswith("UPDATE") for query in queries) == 3


def test_a_check_without_an_upgrade_costs_nothing(user, token, django_assert_num_queries):
    user = log_in(user)

    with django_assert_num_queries(0):
        assert user.check_password(RAW)
        assert not user.check_password("wrong")


def test_a_wrong_password_upgrades_nothing(web_client, user, token, refresh):
    assert not fresh(user).check_password("wrong")

    assert fresh(user).password == user.password
    goes_on(web_client, token, refresh)


def test_only_sessions_of_this_user_are_carried_over(web_client, user, token, refresh):
    other = User.objects.create(username="other", password=user.password)
    other_token = issue_tokens(client=web_client, user=other)["refresh_token"]

    log_in(user)

    assert fresh(other).password == user.password
    goes_on(web_client, other_token, refresh)


def test_a_session_that_a_change_had_ended_does_not_come_back(web_client, user, token, refresh):
    User.objects.update(password=make_password("another", hasher="md5"))
    User.objects.update(password=make_password(RAW, hasher="md5"))
    newer = issue_tokens(client=web_client, user=fresh(user))["refresh_token"]

    log_in(user)

    assert has_ended(web_client, token, refresh)
    goes_on(web_client, newer, refresh)


def test_a_revoked_session_stays_as_it_is(web_client, user, token, refresh):
    RefreshToken.objects.update(revoked_at="2026-01-01T00:00Z", revoked_reason="operator")
    before = RefreshToken.objects.get().session_auth_hash

    log_in(user)

    assert RefreshToken.objects.get().session_auth_hash == before
    assert has_ended(web_client, token, refresh)


def test_the_sites_own_save_and_signals_run_as_ever(user, token):
    saved = []

    def receive(instance, update_fields, **others):
        saved.append((instance.password, update_fields))
        if len(saved) == 1:
            instance.save(update_fields=["password"])

    post_save.connect(receive, sender=User)
    try:
        now = log_in(user)
    finally:
        post_save.disconnect(receive, sender=User)

    assert saved == [(now.password, frozenset({"password"}))] * 2


# --- a change --------------------------------------------------------------------------------------


def change_by_hand(user):
    """What an upgrade writes, without the check: the very same statement."""
    user.password = make_password(RAW)
    user.save(update_fields=["password"])


def change_after_a_check(user):
    assert user.check_password(RAW)
    change_by_hand(user)


def change_after_a_check_of_the_hash_alone(user):
    assert check_password(RAW, user.password)
    user.password = make_password("another")
    user.save(update_fields=["password"])


def change_as_djangos_form_does(user):
    assert user.check_password(RAW)
    user.set_password("another")
    user.save()


def change_in_bulk(user):
    User.objects.filter(pk=user.pk).update(password=make_password(RAW))


def take_the_password_away(user):
    user.set_unusable_password()
    user.save()


CHANGES = [
    change_by_hand,
    change_after_a_check,
    change_after_a_check_of_the_hash_alone,
    change_as_djangos_form_does,
    change_in_bulk,
    take_the_password_away,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_ends_the_sessions(web_client, user, token, refresh, change):
    change(fresh(user))

    assert has_ended(web_client, token, refresh)


def test_what_another_user_saves_during_a_check_is_a_change(web_client, user, token, refresh):
    other = User.objects.create(username="other", password=user.password)

    def receive(instance, **others):
        if instance == other:
            change_by_hand(fresh(user))

    post_save.connect(receive, sender=User)
    try:
        assert other.check_password(RAW)
    finally:
        post_save.disconnect(receive, sender=User)

    assert has_ended(web_client, token, refresh)


# --- user models of a site -------------------------------------------------------------------------


@pytest.fixture
def override(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the user model methods of its own, before the package starts."""

    def override(**methods: Callable[..., Any]) -> None:
        for name, method in methods.items():
            monkeypatch.setattr(User, name, method)
        keep_sessions_at_upgrades(User, require_right_secrets=key_set.require_right_secrets)

    return override


def check_or_lock(self: User, password: str) -> bool:
    if check_password(password, self.password):
        return True
    self.set_unusable_password()
    self.save()
    return False


def check_or_import(self: User, password: str) -> bool:
    self.save(update_fields=["last_login"])
    if self.password == f"legacy:{password}":
        self.set_password(password)
        self.save(update_fields=["first_name"])  # Not yet the hash.
        self.save()
        return True
    return AbstractBaseUser.check_password(self, password)


def set_password(self: User, raw_password: str | None) -> None:
    AbstractBaseUser.set_password(self, raw_password)


async def acheck_password(self: User, raw_password: str) -> bool:
    return await AbstractBaseUser.acheck_password(self, raw_password)


def test_an_account_that_a_check_locks_loses_its_sessions(web_client, user, token, refresh, override):
    override(check_password=check_or_lock)

    assert not fresh(user).check_password("wrong")

    assert has_ended(web_client, token, refresh)


def test_a_hash_of_another_system_is_upgraded_by_the_model_itself(web_client, user, refresh, override):
    override(check_password=check_or_import)
    User.objects.update(password=f"legacy:{RAW}")
    token = issue_tokens(client=web_client, user=fresh(user))["refresh_token"]

    assert fresh(user).check_password(password=RAW)

    assert fresh(user).password.startswith("pbkdf2_sha256$1$")
    goes_on(web_client, token, refresh)


@pytest.mark.parametrize("methods", [{"check_password": check_or_import}, {"set_password": set_password}])
def test_a_model_that_overrides_some_of_the_methods_keeps_sessions_too(
    web_client, user, token, refresh, override, methods
):
    override(**methods)

    log_in(user)

    goes_on(web_client, token, refresh)


def test_a_model_that_overrides_the_asynchronous_method_keeps_sessions_too(
    web_client, user, token, refresh, override
):
    override(acheck_password=acheck_password)

    assert async_to_sync(fresh(user).acheck_password)(RAW)

    goes_on(web_client, token, refresh)


def test_a_password_that_a_model_sets_in_place_of_the_right_one_is_a_change(
    web_client, user, token, refresh, override
):
    def set_another(self, raw_password):
        AbstractBaseUser.set_password(self, "another")

    override(set_password=set_another)

    assert fresh(user).check_password(RAW)

    assert has_ended(web_client, token, refresh)


def test_wrapped_twice_is_wrapped_once():
    model = get_user_model()
    before = model.check_password, model.acheck_password, model.save

    keep_sessions_at_upgrades(model, require_right_secrets=key_set.require_right_secrets)

    assert (model.check_password, model.acheck_password, model.save) == before
    assert model.check_password.__doc__.strip().startswith("Return a boolean")


def test_what_a_model_counts_besides_its_password_is_carried_over(web_client, user, refresh, monkeypatch):
    monkeypatch.setattr(User, "get_session_auth_hash", lambda self: self.password + self.first_name)
    RefreshToken.objects.all().delete()
    token = issue_tokens(client=web_client, user=user)["refresh_token"]

    log_in(user)

    goes_on(web_client, token, refresh)
    User.objects.update(first_name="Alice")
    assert RefreshToken.objects.get().session_auth_hash != session_auth_hash(fresh(user))


# --- two at once -----------------------------------------------------------------------------------


def test_of_two_logins_at_once_both_go_on(web_client, user, token, refresh):
    first, second = fresh(user), fresh(user)

    assert first.check_password(RAW)
    first_token = issue_tokens(client=web_client, user=first)["refresh_token"]
    assert second.check_password(RAW)
    second_token = issue_tokens(client=web_client, user=second)["refresh_token"]

    assert fresh(user).password == first.password == second.password
    for each in (token, first_token, second_token):
        goes_on(web_client, each, refresh)


def test_a_login_does_not_undo_a_change_that_came_first(web_client, user, token, refresh):
    login, change = fresh(user), fresh(user)
    change.set_password("another")
    change.save()

    assert login.check_password(RAW)  # It is the hash that was read which is checked.
    late = issue_tokens(client=web_client, user=login)["refresh_token"]

    assert fresh(user).check_password("another")
    assert has_ended(web_client, token, refresh)
    assert has_ended(web_client, late, refresh)


def test_a_user_that_is_gone_is_an_error_of_djangos(user, token):
    gone = fresh(user)
    User.objects.all().delete()

    with pytest.raises(Exception, match="did not affect any rows"):
        gone.check_password(RAW)


def test_a_column_that_no_query_can_compare_is_upgraded_all_the_same(
    web_client, user, token, refresh, monkeypatch
):
    update = QuerySet.update
    monkeypatch.setattr(QuerySet, "update", lambda self, **kw: "password" not in kw and update(self, **kw))

    log_in(user)

    assert fresh(user).password.startswith("pbkdf2_sha256$1$")
    goes_on(web_client, token, refresh)


@pytest.mark.parametrize("is_of_the_first_version", [False, True])
@pytest.mark.django_db(transaction=True)
def test_an_upgrade_between_the_reading_and_the_writing_of_a_refresh_is_not_undone(
    web_client, user, token, refresh, settings, is_of_the_first_version
):
    if is_of_the_first_version:
        RefreshToken.objects.update(session_auth_hash=password_upgrade_of_the_first_version(user))
    logins = []

    def claims(**others):
        if not logins:  # The refresh has read the session and not yet written it.
            logins.append(log_in(user))
        return {}

    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_CLAIMS": claims}

    goes_on(web_client, token, refresh, times=3)
    assert logins


@pytest.fixture
def in_threads() -> Iterator[Callable[..., Any]]:
    """Start a function in a thread of its own and return its future."""
    with ThreadPoolExecutor(8) as pool:

        def start(task: Callable[..., Any], *arguments: Any) -> Any:
            def run() -> Any:
                try:
                    return task(*arguments)
                finally:
                    connections.close_all()

            return pool.submit(run)

        yield start


@pytest.mark.django_db(transaction=True)
def test_a_refresh_that_waits_for_an_upgrade_goes_on(web_client, user, token, refresh, in_threads):
    upgraded = threading.Event()

    def log_in_slowly() -> None:
        with transaction.atomic():
            log_in(user)
            upgraded.set()
            time.sleep(0.5)  # The request of a site with ATOMIC_REQUESTS.

    login = in_threads(log_in_slowly)
    assert upgraded.wait(20)
    successor = refresh(web_client, token).json()["refresh_token"]
    login.result()

    goes_on(web_client, successor, refresh)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_of_the_first_version", [False, True])
def test_an_upgrade_that_waits_for_a_refresh_carries_the_session_over(
    web_client, user, token, refresh, in_threads, monkeypatch, is_of_the_first_version
):
    if is_of_the_first_version:
        RefreshToken.objects.update(session_auth_hash=password_upgrade_of_the_first_version(user))
    commit, rotated = connection._commit, threading.Event()

    def commit_slowly() -> None:
        if not rotated.is_set():
            rotated.set()
            time.sleep(0.5)
        commit()

    def log_in_after_the_update() -> None:
        assert rotated.wait(20)
        log_in(user)

    login = in_threads(log_in_after_the_update)
    monkeypatch.setattr(connection, "_commit", commit_slowly)
    successor = refresh(web_client, token).json()["refresh_token"]
    monkeypatch.undo()
    login.result()

    goes_on(web_client, successor, refresh)


@pytest.mark.django_db(transaction=True)
def test_refreshes_and_upgrades_in_great_numbers_end_no_session(
    web_client, user, refresh, in_threads, release_django
):
    tokens = [issue_tokens(client=web_client, user=user)["refresh_token"] for _ in range(3)]
    is_over = threading.Event()

    def keep_refreshing(token: Any) -> Any:
        while not is_over.is_set():
            token = goes_on(web_client, token, refresh, times=1)
        return token

    refreshing = [in_threads(keep_refreshing, token) for token in tokens]
    try:
        for _ in range(10):
            release_django()
            for login in [in_threads(log_in, user) for _ in range(3)]:
                login.result()
    finally:
        is_over.set()
    for future in refreshing:
        goes_on(web_client, future.result(), refresh)


# --- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OperationalError, ProgrammingError])
def test_an_upgrade_that_the_database_refuses_is_left_for_another_login(
    web_client, user, token, refresh, monkeypatch, traces, error
):
    def refuse(*arguments, **others):
        raise error("deadlock detected")

    with monkeypatch.context() as patched:
        patched.setattr(password_upgrade, "_carry_over", refuse)
        found = log_in(user)

    assert found.password == fresh(user).password == user.password
    assert any("'event': 'password_upgrade_put_off'" in line for line in traces.logged)
    assert not any(RAW in line or user.password in line for line in traces.logged)
    goes_on(web_client, token, refresh)
    log_in(user)
    assert fresh(user).password.startswith("pbkdf2_sha256$1$")


def test_an_error_that_the_transaction_around_it_does_not_survive_is_raised(user, token, monkeypatch):
    def refuse(*arguments, **others):
        raise OperationalError("deadlock")

    with monkeypatch.context() as patched:
        patched.setattr(password_upgrade, "_carry_over", refuse)
        # As on MariaDB, where a deadlock takes the whole transaction back, and the savepoint with it.
        patched.setattr(connections["default"], "_savepoint_rollback", refuse)
        with pytest.raises(OperationalError):
            log_in(user)

    assert connection.needs_rollback
    connection.needs_rollback = False


@pytest.mark.django_db(transaction=True)
def test_sessions_in_another_database_follow_after_the_commit(web_client, user, token, refresh, monkeypatch):
    asked = []
    monkeypatch.setattr(
        RefreshToken.objects, "using", lambda alias: asked.append(alias) or RefreshToken.objects.all()
    )
    monkeypatch.setattr(password_upgrade, "write_database", lambda model: "elsewhere")

    with transaction.atomic():
        log_in(user)
        assert RefreshToken.objects.get().session_auth_hash == session_auth_hash(user)

    assert asked == ["elsewhere"]
    monkeypatch.undo()
    goes_on(web_client, token, refresh)


@pytest.mark.django_db(transaction=True)
def test_a_login_succeeds_though_the_other_database_is_unavailable(user, token, monkeypatch):
    def refuse():
        raise OperationalError("no route to host")

    class Unavailable:
        filter = staticmethod(lambda **conditions: Unavailable)
        update = staticmethod(lambda **values: refuse())

    asked = []
    with monkeypatch.context() as patched:
        later = transaction.on_commit
        patched.setattr(
            password_upgrade.transaction, "on_commit", lambda *a, **b: asked.append(b) or later(*a, **b)
        )
        patched.setattr(RefreshToken.objects, "using", lambda alias: Unavailable)
        patched.setattr(password_upgrade, "write_database", lambda model: "elsewhere")
        found = log_in(user)

    assert found.password == fresh(user).password != user.password
    assert asked == [{"using": "default", "robust": True}]


def test_no_repr_has_the_password():
    check = password_upgrade._Check(User(), RAW, "md5$…", True)

    assert RAW not in repr(check)
    assert "md5" not in repr(check)
