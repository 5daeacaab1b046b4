"""The user of a request that a machine sends for itself.

History and audit packages store ``request.user`` as soon as it says ``is_authenticated``, and need a row for
that. A site that uses one gives its machines users of its own by the setting ``MACHINE_USER``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from django_ciam_token.models import Client


@dataclass(frozen=True)
class MachineUser:
    """The ``request.user`` of a machine-to-machine client, which acts for itself; it has no row."""

    client: Client

    is_active: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_authenticated: ClassVar[bool] = True
    is_staff: ClassVar[bool] = False
    is_superuser: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.username

    @property
    def pk(self) -> str:
        """A value that is no user's key. None would not do: it would match the rows that have no owner."""
        return f"client:{self.client.client_id}"

    id = pk

    @property
    def username(self) -> str:
        """The client_id, as in the token's ``sub``."""
        return self.client.client_id

    def get_username(self) -> str:
        """Return the client_id."""
        return self.username

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Return False: Django's permissions belong to users; clients have scopes."""
        return False

    def has_perms(self, perm_list: Collection[str], obj: object = None) -> bool:
        """Return False."""
        return False

    def has_module_perms(self, package_name: str) -> bool:
        """Return False."""
        return False
