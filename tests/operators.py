"""Operators of the admin, and the addresses of its pages."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client as Browser
from django.urls import reverse

from django_ciam_token.errors import TemporarilyUnavailable
from tests.factories import UserFactory


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:django_ciam_token_{name}", args=args)


def browser_of(*permissions: str, is_superuser: bool = False, username: str = "operator") -> Browser:
    """A browser in which an operator with these permissions is signed in."""
    user = UserFactory(is_staff=True, is_superuser=is_superuser, username=username)
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    browser = Browser()
    browser.force_login(user)
    return browser


def refuse(*args: Any, **kwargs: Any) -> Any:
    """Replaces a function that queries the database, as if the database were unavailable."""
    raise TemporarilyUnavailable("try again", reason="database_unavailable")
