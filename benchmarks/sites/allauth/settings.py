"""The identity provider of django-allauth with its default settings; it rotates refresh tokens."""

from benchmarks.sites.common import *  # noqa: F403
from benchmarks.sites.common import INSTALLED_APPS, PRIVATE_KEY_PEM

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "django.contrib.messages",
    "django.contrib.sessions",
    "allauth",
    "allauth.account",
    "allauth.idp.oidc",
]
MIDDLEWARE = ["allauth.account.middleware.AccountMiddleware"]  # Does not start without it.
ROOT_URLCONF = "benchmarks.sites.allauth.urls"
IDP_OIDC_PRIVATE_KEY = PRIVATE_KEY_PEM
