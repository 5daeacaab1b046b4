"""A site that moves here: our package next to django-oauth-toolkit, allauth's idp and simplejwt."""

from benchmarks.sites.common import *  # noqa: F403
from benchmarks.sites.common import INSTALLED_APPS, PRIVATE_KEY_PEM

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "oauth2_provider",
    "allauth",
    "allauth.account",
    "allauth.idp.oidc",
    "django_ciam_token",
]
MIDDLEWARE = ["allauth.account.middleware.AccountMiddleware"]
ROOT_URLCONF = "benchmarks.sites.ours.urls"
_SCOPES = {"openid": "Sign you in", "profile": "Read your profile"}
CIAM_TOKEN = {
    "ISSUER": "https://id.example.com",
    "SCOPES": _SCOPES,
    "FOREIGN_TOKENS": {"oauth_toolkit": {}, "allauth": {}, "simplejwt": {"client_id": "jwt-portal"}},
}
# Tokens live for longer than a session here, so that sessions end earlier: the more expensive case.
OAUTH2_PROVIDER = {"SCOPES": _SCOPES, "REFRESH_TOKEN_EXPIRE_SECONDS": 90 * 86_400}
IDP_OIDC_PRIVATE_KEY = PRIVATE_KEY_PEM
SIMPLE_JWT = {"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True}
