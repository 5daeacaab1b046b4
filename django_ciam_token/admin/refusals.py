"""The refused refreshes of a session, in words: why somebody was logged out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext_lazy as _

from django_ciam_token.admin import user_agents
from django_ciam_token.models import RefreshRefusal, RefreshToken
from django_ciam_token.sessions.state import Obstacle

_IN_WORDS: Final = {
    **dict(Obstacle.choices),
    "reuse": _("a superseded refresh token was used; the session was ended"),
    "revoked": _("the session had been ended"),
    "expired": _("the session had expired"),
    "wrong_client": _("the token belongs to another application"),
    "never_issued": _("a token that this database never issued: was a backup restored, or a secret stolen?"),
    "overtaken": _("a later refresh overtook this one; the application has a newer token"),
    "policy": _("ISSUANCE_POLICY of this site said no"),
    "subject_is_client_id": _("the user could be mistaken for the application"),
    "malformed_scope": _("the scope was malformed"),
    "scope_widened": _("a wider scope was asked for than was granted"),
    "unknown_client": _("there is no client with that client_id"),
    "missing_secret": _("the client secret was missing"),
    "wrong_secret": _("the client secret was wrong"),
    "expired_secret": _("the client secret had expired"),
    "unexpected_secret": _("a public client sent a client secret"),
    "stored_digest_presented": _("the stored digest was sent as the client secret: was the database read?"),
    "secret_not_tried": _("the client secret was not tried: too many failures"),
}


def in_words(reason: str) -> str:
    """Return what a reason means; a reason of the site's own grant stays as it is."""
    return str(_IN_WORDS.get(reason, reason))


@dataclass(frozen=True)
class ShownRefusal:
    """One line of the page of a session."""

    row: RefreshRefusal
    reason: str
    device: str
    client_id: str
    """Of the client that asked, if it is not the session's own."""


def of_session(session: RefreshToken) -> list[ShownRefusal]:
    """Return the refused refreshes of a session that are known, newest first."""
    rows = RefreshRefusal.objects.filter(session_id=session.pk).order_by("-last_at", "-pk")
    own = session.client.client_id
    return [
        ShownRefusal(
            row=row,
            reason=in_words(row.reason),
            device=user_agents.describe(row.user_agent),
            client_id="" if row.client_id == own else row.client_id,
        )
        for row in rows
    ]
