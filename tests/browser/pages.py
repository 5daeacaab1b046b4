"""A site with rows as wide as a busy one's, and the addresses of all pages of the product's admin."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from django_ciam_token.api import issue_tokens, rotate_client_secret
from django_ciam_token.keys.signing_keys import ensure_first_key, rotate
from django_ciam_token.models import Client, Consent, RefreshToken, SecurityEvent, SigningKey
from tests.factories import ClientFactory, UserFactory
from tests.operators import url

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0"
LISTS = (
    "client_changelist",
    "refreshtoken_changelist",
    "consent_changelist",
    "securityevent_changelist",
    "signingkey_changelist",
)


def fill():
    """Rows as wide as a busy site's: drawn client_ids, long names, every state, IPv6."""
    ensure_first_key(using="default")
    rotate(algorithm="RS256")
    names = (
        "Customer portal for business partners",
        "Mobile app",
        "Nightly-export-of-the-warehouse-in-Rotterdam",
    )
    clients = [ClientFactory(name=name, client_id=uuid.uuid4().hex, asks_consent=True) for name in names]
    # The page that retires one needs two secrets.
    rotate_client_secret(clients[-1])
    ends = ("reuse", "operator", "consent_withdrawn", None)
    for number in range(12):
        user = UserFactory(username=f"konstantina.papadopoulou-{number}@example.org")
        issue_tokens(client=clients[number % 3], user=user)
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


def addresses():
    """Return the addresses of the product's admin pages, by name."""
    client, session = (
        Client.objects.order_by("pk").last(),
        RefreshToken.objects.filter(revoked_at=None).last(),
    )
    return {
        "overview": reverse("admin:app_list", args=["django_ciam_token"]),
        **{name.removesuffix("_changelist") + "s": url(name) for name in LISTS},
        "client": url("client_change", client.pk),
        "client-add": url("client_add"),
        "quick-start": url("client_new_secret", client.pk),
        "replace-secret": url("client_replace_secret", client.pk),
        "end-sessions": url("client_end_sessions", client.pk),
        "retire-secret": url("client_retire_secret", client.pk),
        "switch-client": url("client_switch", client.pk),
        "session": url("refreshtoken_change", session.pk),
        "find-by-token": url("refreshtoken_find_by_token"),
        "end-by-criteria": url("refreshtoken_end_by_criteria"),
        "session-end": url("refreshtoken_end", session.pk),
        "event": url("securityevent_change", SecurityEvent.objects.first().pk),
        "key": url("signingkey_change", SigningKey.objects.first().pk),
        "rotate": url("signingkey_rotate"),
        "plan-rotation": url("signingkey_plan_rotation"),
        "rotate-now": url("signingkey_rotate_now"),
        "user": reverse("admin:auth_user_change", args=[session.user_id]),
        "sign-out": url("refreshtoken_sign_out", session.user_id),
    }
