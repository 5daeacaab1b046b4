"""How a site tests what it does with tokens; run it with ``manage.py test``."""

from datetime import timedelta

from django.contrib.auth.models import User
from django.test import TestCase

from django_ciam_token.api import create_client
from django_ciam_token.testing import post_form, time_travel


class SigningInTests(TestCase):
    """Signing in at ``/login``, and staying signed in."""

    def setUp(self) -> None:
        """Register an application and a user."""
        create_client(name="Portal", application_type="spa", client_id="portal")
        User.objects.create_user("alice", password="correct horse")

    def test_a_user_stays_signed_in_until_the_refresh_token_was_unused_for_too_long(self) -> None:
        """Sign in, refresh, and come back after two days."""
        credentials = {"client_id": "portal", "username": "alice", "password": "correct horse"}
        tokens = post_form(self.client, "/login", credentials).json()
        for later, status in ((timedelta(days=2), 400), (timedelta(hours=23), 200)):
            with self.subTest(later=later), time_travel(later):
                answer = post_form(
                    self.client,
                    "/oauth2/token",
                    {
                        "grant_type": "refresh_token",
                        "client_id": "portal",
                        "refresh_token": tokens["refresh_token"],
                    },
                )
                self.assertEqual(answer.status_code, status)

    def test_a_wrong_password_gets_no_tokens(self) -> None:
        """Sign in with a password that is wrong."""
        credentials = {"client_id": "portal", "username": "alice", "password": "battery staple"}
        self.assertEqual(post_form(self.client, "/login", credentials).status_code, 403)
