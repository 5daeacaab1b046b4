"""``manage.py revoke_tokens``: another name of ``revoke_sessions``."""

from __future__ import annotations

from django_ciam_token.management.commands.revoke_sessions import Command

__all__ = ["Command"]
