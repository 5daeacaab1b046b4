"""Who was signed in stays signed in, and nobody else is: tokens of the real packages, over real HTTP."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import CommandError
from django.db.models import F

from django_ciam_token.models import Client, ForeignToken, RefreshToken
from tests.migration.packages import PACKAGES, new_user, run_import

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not settings.HAS_BLACKLIST, reason="simplejwt stores nothing"),
]

KINDS = [(package, kind) for package in PACKAGES for kind in package.kinds]
ARRIVALS = ["cut-over", "gradual"]


@pytest.fixture
def user():
    return new_user()


def arrive(package, arrival):
    """Move: everything at once, or only the clients and each token at its first use."""
    if arrival == "cut-over":
        run_import(package)
    else:
        run_import(package, "--since", "2990-01-01")


def let_time_pass_here(**amount):
    step = timedelta(**amount)
    RefreshToken.objects.update(rotated_at=F("rotated_at") - step)


def user_as_stored(user):
    user.refresh_from_db()
    return user


def refused(answer):
    return (answer.status, answer.json()) == (400, {"error": "invalid_grant"})


@pytest.mark.parametrize("is_rotated", [False, True], ids=["first token", "rotated"])
@pytest.mark.parametrize("arrival", ARRIVALS)
@pytest.mark.parametrize(("kind_of", "kind"), KINDS)
def test_whoever_was_signed_in_stays_signed_in(site, user, kind_of, kind, arrival, is_rotated):
    package = kind_of()
    registered = package.register(kind)
    token = package.sign_in(site, registered, user)
    if is_rotated:
        token = package.refresh(site, registered, token).json()["refresh_token"]
    arrive(package, arrival)

    first = site.refresh(registered, token)
    assert first.status == 200, first
    second = site.refresh(registered, first.json()["refresh_token"])

    assert second.status == 200
    assert second.json()["scope"] == package.scope
    session = RefreshToken.objects.get()
    assert session.user == user
    assert session.client.client_id == registered.client_id
    # A token that simplejwt may have rotated does not say when its user signed in.
    assert (session.auth_time is None) == (package.name == "simplejwt")
    assert session.auth_time is None or session.auth_time == user_as_stored(user).last_login


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_two_simultaneous_first_refreshes_get_one_successor(site, user, package, arrival):
    registered = package.register()
    token = package.sign_in(site, registered, user)
    arrive(package, arrival)
    barrier = threading.Barrier(4, timeout=30)

    def refresh(_):
        barrier.wait()
        return site.refresh(registered, token)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(refresh, range(4)))

    assert [answer.status for answer in answers] == [200] * 4
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert RefreshToken.objects.count() == 1


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_a_dropped_answer_is_given_again_and_a_late_repeat_ends_the_session(site, user, package, arrival):
    registered = package.register()
    token = package.sign_in(site, registered, user)
    arrive(package, arrival)

    first = site.refresh(registered, token).json()["refresh_token"]
    assert site.refresh(registered, token).json()["refresh_token"] == first
    let_time_pass_here(minutes=1)

    assert refused(site.refresh(registered, token))
    assert refused(site.refresh(registered, first))
    assert RefreshToken.objects.get().revoked_reason == "reuse"


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_a_thief_with_an_older_token_gets_nothing(site, user, package, arrival):
    registered = package.register()
    stolen = package.sign_in(site, registered, user)
    token = package.refresh(site, registered, stolen).json()["refresh_token"]
    package.let_time_pass(minutes=5)
    arrive(package, arrival)
    successor = site.refresh(registered, token).json()["refresh_token"]

    assert refused(site.refresh(registered, stolen))

    # Allauth deletes rotated tokens, and simplejwt does not say which sign-in they belong to.
    assert refused(site.refresh(registered, successor)) == package.remembers_older_tokens


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_who_signed_out_or_expired_there_is_not_let_in(site, user, package, arrival):
    registered = package.register()
    revoked = package.sign_in(site, registered, user)
    package.revoke(site, registered, revoked)
    expired = package.sign_in(site, registered, user)
    if package.name != "simplejwt":  # Whose tokens say themselves when they expire.
        package.let_time_pass(days=15)
    else:
        package.revoke(site, registered, expired)
    arrive(package, arrival)

    assert refused(site.refresh(registered, revoked))
    assert refused(site.refresh(registered, expired))
    assert not RefreshToken.objects.exists()


@pytest.mark.parametrize("is_imported_again", [False, True])
def test_a_token_that_was_rotated_there_after_its_import_is_not_accepted(
    site, user, package, is_imported_again
):
    registered = package.register()
    token = package.sign_in(site, registered, user)
    arrive(package, "cut-over")
    successor = package.refresh(site, registered, token).json()["refresh_token"]
    if is_imported_again:
        assert run_import(package)["sessions_dropped"] == 1

    assert refused(site.refresh(registered, token))

    # Just now, so it may have been a second tab: who holds the successor goes on.
    assert site.refresh(registered, successor).status == 200


def test_signing_out_here_before_the_first_refresh(site, user, package):
    registered = package.register()
    token = package.sign_in(site, registered, user)
    arrive(package, "gradual")
    form = {"client_id": registered.client_id, "token": token, **registered.credentials}

    assert site.request(f"{settings.OUR_PREFIX}/oauth2/revoke", form).status == 200

    assert refused(site.refresh(registered, token))


def test_another_client_can_not_use_it(site, user, package):
    registered, other = package.register(), package.register()
    if package.name == "simplejwt":
        other = PACKAGES[0]().register()
        arrive(PACKAGES[0](), "gradual")
    token = package.sign_in(site, registered, user)
    arrive(package, "gradual")

    assert refused(site.refresh(other, token))
    assert site.refresh(registered, token).status == 200


def test_an_import_is_repeatable_and_can_be_tried_before(site, user, package):
    registered = package.register()
    for _ in range(3):
        package.sign_in(site, registered, user)
    clients = 0 if package.name == "simplejwt" else 1

    tried = run_import(package, "--dry-run")
    assert not ForeignToken.objects.exists()
    assert not RefreshToken.objects.exists()
    first = run_import(package, "--batch-size", "2")
    again = run_import(package)
    package.sign_in(site, registered, user)
    more = run_import(package)

    assert tried == first
    assert (first["clients_imported"], first["tokens_imported"], first["tokens_known"]) == (clients, 3, 0)
    assert (again["clients_known"], again["tokens_imported"], again["tokens_known"]) == (clients, 0, 3)
    assert (more["tokens_imported"], more["tokens_known"]) == (1, 3)
    assert RefreshToken.objects.count() == 4


def test_what_is_left_out_is_said(site, user, package):
    registered = package.register()
    package.sign_in(site, registered, user)
    package.sign_in(site, registered, user)
    Client.objects.filter(client_id=registered.client_id).delete()
    if package.name == "simplejwt":
        with pytest.raises(CommandError, match="There is no client 'jwt-portal'"):
            run_import(package)
        return
    package.let_time_pass(days=15)
    package.sign_in(site, registered, user)

    assert run_import(package)["tokens_left_out"] == {"it has expired": 2}


def test_only_one_client_can_be_imported(site, user, package):
    if package.name == "simplejwt":
        return
    registered, other = package.register(), package.register()
    for one in (registered, other):
        package.sign_in(site, one, user)

    done = run_import(package, "--client", registered.client_id)

    assert (done["clients_imported"], done["tokens_imported"]) == (1, 1)
    assert Client.objects.get().client_id == registered.client_id
