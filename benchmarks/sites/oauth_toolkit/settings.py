"""django-oauth-toolkit with OpenID Connect, rotation and reuse protection."""

from benchmarks.sites.common import *  # noqa: F403
from benchmarks.sites.common import INSTALLED_APPS, PRIVATE_KEY_PEM

INSTALLED_APPS = [*INSTALLED_APPS, "oauth2_provider"]
ROOT_URLCONF = "benchmarks.sites.oauth_toolkit.urls"
OAUTH2_PROVIDER = {
    "OIDC_ENABLED": True,
    "OIDC_RSA_PRIVATE_KEY": PRIVATE_KEY_PEM,
    "OIDC_ISS_ENDPOINT": "https://id.example.com/o",
    "SCOPES": {"openid": "Sign you in", "profile": "Read your profile"},
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    # Ours also has a grace period of 30 s. Without one, this could not answer a client that asks twice.
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 30,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 86400,
    "ACCESS_TOKEN_EXPIRE_SECONDS": 300,
}
