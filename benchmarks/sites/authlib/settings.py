"""Authlib's Django integration with models of our own, because it has none."""

from benchmarks.sites.common import *  # noqa: F403
from benchmarks.sites.common import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.sites.authlib"]
ROOT_URLCONF = "benchmarks.sites.authlib.urls"
