"""``manage.py revoke_sessions``: the name that says what ``revoke_tokens`` does; they are the same."""

from __future__ import annotations

from django_ciam_token.management.commands.revoke_tokens import Command

__all__ = ["Command"]
