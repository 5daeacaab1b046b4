"""Arriving from other packages: one site that has all of them installed, as `tox -e migration` runs it."""
