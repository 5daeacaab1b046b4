"""Authlib on Django, put together as its documentation shows."""
