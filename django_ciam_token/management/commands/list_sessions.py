"""``manage.py list_sessions``: the name that says what ``list_tokens`` does; they are the same."""

from __future__ import annotations

from django_ciam_token.management.commands.list_tokens import Command

__all__ = ["Command"]
