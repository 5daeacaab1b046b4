"""``manage.py list_tokens``: another name of ``list_sessions``."""

from __future__ import annotations

from django_ciam_token.management.commands.list_sessions import Command

__all__ = ["Command"]
