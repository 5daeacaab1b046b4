"""Numbers in sentences."""

from __future__ import annotations


def several(number: int, noun: str, plural: str = "") -> str:
    """Return a number with what it counts: ``1 session``, ``2 sessions``.

    Args:
        number: how many.
        noun: what one is called.
        plural: what many are called, if not the same with an ``s``.
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
