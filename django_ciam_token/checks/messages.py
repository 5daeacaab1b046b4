"""The messages of checks; their ids are stable."""

from __future__ import annotations

from django.core.checks import Error, Warning  # noqa: A004 - Django's name


def warning(number: str, message: str, hint: str) -> Warning:
    """Return a warning, such as ``W004``."""
    return Warning(message, hint=hint, id=f"django_ciam_token.{number}")


def error(number: str, message: str, hint: str) -> Error:
    """Return an error, such as ``E001``."""
    return Error(message, hint=hint, id=f"django_ciam_token.{number}")
