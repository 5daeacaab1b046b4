from __future__ import annotations

import hashlib
import re

import pytest
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import User
from django.test import override_settings
from django.utils.crypto import salted_hmac
from django.utils.functional import SimpleLazyObject

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import RefreshToken
from django_ciam_token.sessions.auth_hash import is_auth_hash_of, session_auth_hash

OLD = "the-secret-of-last-year-" + "o" * 30
NEW = "the-secret-of-this-year-" + "n" * 30


def secrets(*values, **others):
    return override_settings(CIAM_TOKEN={**settings.CIAM_TOKEN, "SECRETS": list(values)}, **others)


def first_version(user):
    """What was kept before there was a version."""
    return hashlib.sha256(user.get_session_auth_hash().encode()).hexdigest()


HASH = "md5$salt$0123456789abcdef"


def user_with(password=HASH):
    return User(pk=1, username="alice", password=password)


def test_what_is_kept_says_its_version_fits_and_never_changes():
    # A change here would sign out every user of every site.
    with secrets(NEW):
        kept = session_auth_hash(user_with())

    assert kept == "v2$37cc63614a760d2931e5c4c25faf5dbf"
    assert re.fullmatch(r"v2\$[0-9a-f]{32}", kept)


def test_another_password_is_not_accepted():
    kept = session_auth_hash(user_with())

    assert is_auth_hash_of(kept, user_with())
    assert not is_auth_hash_of(kept, user_with("md5$salt$fedcba9876543210"))


def test_it_depends_on_secrets_alone():
    with secrets(NEW, SECRET_KEY="leaked-" * 9):
        kept = session_auth_hash(user_with())

    with secrets(NEW, SECRET_KEY="another-" * 9):
        assert session_auth_hash(user_with()) == kept


def test_any_listed_secret_is_accepted_and_the_first_is_used():
    with secrets(OLD):
        kept = session_auth_hash(user_with())

    with secrets(NEW, OLD):
        assert is_auth_hash_of(kept, user_with())
        assert session_auth_hash(user_with()) != kept
    with secrets(NEW):
        assert not is_auth_hash_of(kept, user_with())


def test_the_first_version_is_accepted_with_every_fallback_of_secret_key():
    with override_settings(SECRET_KEY=OLD):
        kept = first_version(user_with())
        assert is_auth_hash_of(kept, user_with())
        assert not is_auth_hash_of(kept, user_with("md5$salt$fedcba9876543210"))

    with override_settings(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=[OLD]):
        assert is_auth_hash_of(kept, user_with())
    with override_settings(SECRET_KEY=NEW):
        assert not is_auth_hash_of(kept, user_with())


def test_no_usable_password_is_always_the_same():
    kept = session_auth_hash(user_with("!" + "a" * 40))

    assert is_auth_hash_of(kept, user_with("!" + "b" * 40))
    assert not is_auth_hash_of(kept, user_with())
    assert not is_auth_hash_of(session_auth_hash(user_with()), user_with("!" + "a" * 40))


def test_a_model_whose_password_was_removed_is_fine():
    assert is_auth_hash_of(session_auth_hash(user_with(None)), user_with(None))


def test_a_lazy_user_is_the_user():
    assert session_auth_hash(SimpleLazyObject(user_with)) == session_auth_hash(user_with())


def test_a_machine_keeps_nothing():
    assert session_auth_hash(None) == ""


def test_what_somebody_wrote_by_hand_is_no_error():
    assert not is_auth_hash_of("ünknown", user_with())
    assert not is_auth_hash_of("", user_with())


# --- user models of a site ---------------------------------------------------------------------------


@pytest.fixture
def with_secret(monkeypatch):
    """The user model counts a new first name as well, with any secret that Django passes."""

    def auth_hash(self, secret=None):
        return salted_hmac(
            "site", f"{self.password}{self.first_name}", secret=secret, algorithm="sha256"
        ).hexdigest()

    monkeypatch.setattr(User, "_get_session_auth_hash", auth_hash, raising=False)


@pytest.fixture
def public_only(monkeypatch):
    """The same, but by Django's public method alone."""

    def auth_hash(self):
        return salted_hmac("site", f"{self.password}{self.first_name}", algorithm="sha256").hexdigest()

    def fallback_hash(self):
        for secret in settings.SECRET_KEY_FALLBACKS:
            yield salted_hmac(
                "site", f"{self.password}{self.first_name}", secret=secret, algorithm="sha256"
            ).hexdigest()

    monkeypatch.setattr(User, "get_session_auth_hash", auth_hash)
    monkeypatch.setattr(User, "get_session_auth_fallback_hash", fallback_hash)


@pytest.fixture(params=["with_secret", "public_only"])
def counts_more(request):
    request.getfixturevalue(request.param)


def test_a_model_that_counts_more_has_its_say(counts_more):
    kept, renamed = session_auth_hash(user_with()), user_with()
    renamed.first_name = "Alice"

    assert is_auth_hash_of(kept, user_with())
    assert not is_auth_hash_of(kept, renamed)
    assert not is_auth_hash_of(kept, user_with("md5$salt$fedcba9876543210"))


def test_a_model_that_counts_more_has_its_say_without_a_usable_password(counts_more):
    kept, renamed = session_auth_hash(user_with("!a")), user_with("!b")
    renamed.first_name = "Alice"

    assert is_auth_hash_of(kept, user_with("!b"))
    assert not is_auth_hash_of(kept, renamed)
    assert renamed.password == "!b"


def test_of_a_model_that_counts_more_any_listed_secret_is_accepted(counts_more):
    with secrets(OLD):
        kept = session_auth_hash(user_with())

    with secrets(NEW, OLD):
        assert is_auth_hash_of(kept, user_with())
    with secrets(NEW):
        assert not is_auth_hash_of(kept, user_with())


def test_a_model_that_is_given_the_secret_does_not_depend_on_secret_key(with_secret):
    with secrets(NEW, SECRET_KEY="leaked-" * 9):
        kept = session_auth_hash(user_with())

    with secrets(NEW, SECRET_KEY="another-" * 9):
        assert is_auth_hash_of(kept, user_with())


def test_a_model_with_the_public_method_alone_depends_on_secret_key_and_its_fallbacks(public_only):
    with secrets(NEW, SECRET_KEY="leaked-" * 9):
        kept = session_auth_hash(user_with())

    with secrets(NEW, SECRET_KEY="another-" * 9):
        assert not is_auth_hash_of(kept, user_with())
    with secrets(NEW, SECRET_KEY="another-" * 9, SECRET_KEY_FALLBACKS=["leaked-" * 9]):
        assert is_auth_hash_of(kept, user_with())


def test_a_model_without_session_hashes_keeps_nothing(monkeypatch):
    kept = session_auth_hash(user_with())
    monkeypatch.setattr(User, "get_session_auth_hash", None)

    assert session_auth_hash(user_with()) == ""
    assert is_auth_hash_of("", user_with())
    assert not is_auth_hash_of(kept, user_with())


def test_a_model_that_is_not_based_on_djangos_needs_the_public_method_only():
    class Person:
        def get_session_auth_hash(self):
            return "1"

    assert is_auth_hash_of(session_auth_hash(Person()), Person())
    assert not is_auth_hash_of("of another password", Person())
    assert not issubclass(Person, AbstractBaseUser)


# --- sessions that began before --------------------------------------------------------------------


@pytest.fixture
def session(first_tokens, user):
    """A session that keeps the first version."""
    RefreshToken.objects.update(session_auth_hash=first_version(user))
    return RefreshToken.objects.get()


def test_a_refresh_replaces_the_first_version(web_client, user, session, first_tokens, refresh):
    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200

    session.refresh_from_db()
    assert session.session_auth_hash == session_auth_hash(user)


def test_a_session_of_the_first_version_ends_with_its_password(
    web_client, user, session, first_tokens, refresh
):
    user.set_password("another")
    user.save()

    assert refresh(web_client, first_tokens["refresh_token"]).json() == {"error": "invalid_grant"}


def test_a_leaked_secret_key_can_be_replaced_at_once(web_client, user, refresh):
    with secrets(settings.SECRET_KEY, SECRET_KEY="leaked-" * 9):
        token = issue_tokens(client=web_client, user=user)["refresh_token"]

    with secrets(settings.SECRET_KEY, SECRET_KEY="another-" * 9):
        token = refresh(web_client, token).json()["refresh_token"]

        assert refresh(web_client, token).status_code == 200


def test_a_session_outlives_the_secret_that_it_began_with(web_client, user, first_tokens, refresh):
    with secrets(NEW, settings.SECRET_KEY):
        token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]

    assert RefreshToken.objects.get().session_auth_hash != session_auth_hash(user)
    with secrets(NEW):
        assert refresh(web_client, token).status_code == 200


def test_a_sign_in_that_takes_the_password_away_anew_ends_no_session(web_client, user, refresh):
    user.set_unusable_password()
    user.save()
    token = issue_tokens(client=web_client, user=user)["refresh_token"]

    user.set_unusable_password()
    user.save()

    assert refresh(web_client, token).status_code == 200
