"""The site of the long run: what takes days elsewhere takes a minute here, so that an hour shows it often."""

from tests.faults.settings import *  # noqa: F403
from tests.faults.settings import CIAM_TOKEN

ROOT_URLCONF = "tests.soak.urls"
# What a password costs is not what the run is about.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

CIAM_TOKEN.update(
    {
        "ACCESS_TOKEN_LIFETIME": 60,
        "ID_TOKEN_LIFETIME": 60,
        "AUTHORIZATION_CODE_LIFETIME": 60,
        "ENDED_RETENTION": 60,
        "SIGNING_KEY_LEAD": 20,
        "JWKS_MAX_AGE": 5,
        "PROCESS_CACHE_LIFETIME": 5,
    }
)
