"""A user model that has its row in two tables."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class Account(AbstractUser):
    """What every account has."""


class Member(Account):
    """Inherits from the account by a table of its own, and is the site's user."""

    number = models.CharField(max_length=20, blank=True)
