"""A site's module, for the type checkers of tests/package/consumer_types.py: never run.

Each suppressed error is a real one: if the package's types were lost, both checkers would report that there
is nothing to suppress.
"""

from __future__ import annotations

from uuid import UUID

from typing_extensions import assert_type

from django_ciam_token.api import SessionInfo, issue_tokens, list_sessions, revoke_sessions
from django_ciam_token.errors import OAuthError
from django_ciam_token.models import Client, RevocationReason
from django_ciam_token.sessions.criteria import SessionCriteria


def sign_in(client: Client) -> dict[str, str | int]:
    """Give tokens, as a login view does."""
    try:
        tokens = issue_tokens(client=client, scope="openid profile")
    except OAuthError as error:
        assert_type(error.reason, str)
        raise
    assert_type(tokens, dict[str, str | int])
    return tokens


def sign_out(session: UUID) -> int:
    """End one session."""
    ended = revoke_sessions(SessionCriteria(session_id=session), reason=RevocationReason.USER)
    assert_type(ended, int)
    return ended


def sessions_of(user: object) -> list[SessionInfo]:
    """List sessions, with a wrong argument."""
    return list(list_sessions(user=user))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wrong() -> None:
    """Forget an argument."""
    issue_tokens()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
