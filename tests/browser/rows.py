"""A site with rows as wide as a busy one's."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.utils import timezone

from django_ciam_token.api import issue_tokens, rotate_client_secret
from django_ciam_token.keys.signing_keys import ensure_first_key, rotate
from django_ciam_token.models import Consent, RefreshRefusal, RefreshToken, SecurityEvent
from tests.factories import ClientFactory, UserFactory

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0"
CALLBACK = "https://app.example.com/callback"


def fill() -> str:
    """Rows as wide as a busy site's: drawn client_ids, long names, every state, IPv6.

    Returns an access token of the newest session.
    """
    # One key in each state.
    ensure_first_key(using="default")
    rotate(algorithm="ES256", immediately=True)
    rotate(algorithm="RS256")
    names = (
        "Customer portal for business partners",
        "Mobile app",
        "Nightly-export-of-the-warehouse-in-Rotterdam",
    )
    clients = [
        ClientFactory(name=name, client_id=uuid.uuid4().hex, asks_consent=True, redirect_uris=CALLBACK)
        for name in names
    ]
    # The page that retires one needs two secrets.
    rotate_client_secret(clients[-1])
    # One without sessions.
    ClientFactory(name="Weather", application_type="spa", redirect_uris=CALLBACK)
    ends = ("reuse", "operator", "consent_withdrawn", None)
    for number in range(12):
        user = UserFactory(username=f"konstantina.papadopoulou-{number}@example.org")
        tokens = issue_tokens(client=clients[number % 3], user=user)
        session = RefreshToken.objects.order_by("-pk").first()
        now = timezone.now()
        reason = ends[number % 4]
        RefreshToken.objects.filter(pk=session.pk).update(
            rotated_at=now - timedelta(minutes=7 * number),
            generation=13_579 * number,
            last_address="2001:db8:85a3:8d3:1319:8a2e:370:7348",
            last_user_agent=CHROME,
            **({} if reason is None else {"revoked_at": now, "revoked_reason": reason}),
        )
        Consent.objects.create(
            client=clients[number % 3], user=user, scope="openid profile email offline_access"
        )
        SecurityEvent.objects.create(
            event=("reuse_detected", "client_auth_failed", "client_changed")[number % 3],
            client_id=clients[number % 3].client_id,
            user_id=str(user.pk),
            session_id=session.pk,
            reason=("refresh_tokens_disabled", "wrong_client_secret", "post_logout_redirect_uris")[
                number % 3
            ],
            actor="konstantina.papadopoulou@example.org",
            address="2001:db8:85a3:8d3:1319:8a2e:370:7348",
        )
    refuse_refreshes_of(RefreshToken.objects.filter(revoked_at=None).last())
    return tokens["access_token"]


def refuse_refreshes_of(session):
    """Three refused refreshes of a session, for three reasons."""
    now = timezone.now()
    for slot, reason in enumerate(("password_changed", "wrong_client", "never_issued")):
        RefreshRefusal.objects.create(
            session_id=session.pk, slot=slot, reason=reason, number=slot + 1, first_at=now, last_at=now,
            client_id=uuid.uuid4().hex, user_agent=CHROME, address="2001:db8:85a3:8d3:1319:8a2e:370:7348",
        )  # fmt: skip
