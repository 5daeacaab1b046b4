"""A site with django-oauth-toolkit, simplejwt, allauth's identity provider, knox and this app."""

import os

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, MIDDLEWARE

_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE_KEY = _key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC_KEY = _key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
HAS_BLACKLIST = not os.environ.get("CIAM_WITHOUT_BLACKLIST")

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "rest_framework",
    "oauth2_provider",
    "allauth",
    "allauth.account",
    "allauth.idp.oidc",
    "knox",
    *(["rest_framework_simplejwt.token_blacklist"] if HAS_BLACKLIST else []),
]
MIDDLEWARE = [*MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"]
ROOT_URLCONF = "tests.migration.urls"

SCOPES = {"openid": "Sign you in", "read": "Read", "write": "Write"}
CIAM_TOKEN = {
    "ISSUER": "https://id.example.com",
    "SCOPES": SCOPES,
    "FOREIGN_TOKENS": {"oauth_toolkit": {}, "allauth": {}, "simplejwt": {"client_id": "jwt-portal"}},
}
OAUTH2_PROVIDER = {
    "SCOPES": SCOPES,
    "OIDC_ENABLED": True,
    "OIDC_RSA_PRIVATE_KEY": PRIVATE_KEY,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 14 * 86_400,
}
IDP_OIDC_PRIVATE_KEY = PRIVATE_KEY
SIMPLE_JWT = {
    "ALGORITHM": "RS256",
    "SIGNING_KEY": PRIVATE_KEY,
    "VERIFYING_KEY": PUBLIC_KEY,
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": HAS_BLACKLIST,
}

# What else a site may be like; `test_variants.py` runs the moves again in each.
VARIANT = os.environ.get("CIAM_VARIANT", "")
OUR_PREFIX = ""
# A UUID as key and a login by e-mail address; and a model that inherits from another, with two tables.
USER_MODELS = {"person": "people.Person", "member": "members.Member"}
if VARIANT in USER_MODELS:
    AUTH_USER_MODEL = USER_MODELS[VARIANT]
    # The example project is about Django's own user.
    INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "portal"]
    INSTALLED_APPS += [f"tests.migration.{AUTH_USER_MODEL.split('.')[0]}"]
if VARIANT == "person":
    ACCOUNT_USER_MODEL_USERNAME_FIELD = None
    ACCOUNT_LOGIN_METHODS = {"email"}
    ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
if VARIANT == "no_time_zones":
    USE_TZ = False
if VARIANT == "prefix":
    OUR_PREFIX = "/auth"
    CIAM_TOKEN["ISSUER"] = "https://id.example.com/auth"
if VARIANT == "script_name":
    FORCE_SCRIPT_NAME = "/site"
if VARIANT == "languages":
    OUR_PREFIX = "/de"
    LANGUAGE_CODE = "de"
    MIDDLEWARE.insert(1, "django.middleware.locale.LocaleMiddleware")
