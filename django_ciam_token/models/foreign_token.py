"""Refresh tokens that another package issued, and the sessions that they became."""

from __future__ import annotations

from django.db import models


class ForeignToken(models.Model):
    """A token of another package that stands for a session of ours.

    It holds no token: the key is a digest. A row outlives its session, so that a token that has become a
    session once can never become another: not after the session was refreshed, revoked or purged.
    """

    key = models.UUIDField(primary_key=True, editable=False)
    """122 bits of a SHA-256 of the format and of what the token is known by.

    To be taken for the holder of one of a million tokens, somebody would have to try 2**102 strings; and the
    session's row has a whole SHA-256 besides.
    """
    # Not a foreign key: the row outlives its session, and to purge sessions must not cost more for it.
    session_id = models.UUIDField(editable=False)
    format = models.CharField(max_length=100, editable=False)
    """Its name in the setting ``FOREIGN_TOKENS``."""
    reference = models.CharField(max_length=64, blank=True, editable=False)
    """The primary key of the token's row in the tables of the other package."""
    # Indexed, because the clean-up looks for rows that are over. No refresh writes here.
    needed_until = models.DateTimeField(null=True, db_index=True, editable=False)
    """When the other package would no longer accept the token either, nor ours its session; None: never."""

    class Meta:
        verbose_name = "imported refresh token"
        verbose_name_plural = "imported refresh tokens"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.key)
