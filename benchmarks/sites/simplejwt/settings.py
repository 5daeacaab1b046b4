"""djangorestframework-simplejwt with RS256, rotation and blacklist."""

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from benchmarks.sites.common import *  # noqa: F403
from benchmarks.sites.common import INSTALLED_APPS, PRIVATE_KEY_PEM

_key = load_pem_private_key(PRIVATE_KEY_PEM.encode(), password=None)

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "rest_framework",
    "rest_framework_simplejwt",
    "rest_framework_simplejwt.token_blacklist",
]
ROOT_URLCONF = "benchmarks.sites.simplejwt.urls"
REST_FRAMEWORK = {"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]}
SIMPLE_JWT = {
    "ALGORITHM": "RS256",
    # Parsed once, which its documentation allows: a PEM would be parsed for every token.
    "SIGNING_KEY": _key,
    "VERIFYING_KEY": _key.public_key(),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
}
