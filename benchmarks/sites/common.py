"""Settings that all sites share: the same database options, the same few middlewares, no DEBUG."""

from __future__ import annotations

import os
from pathlib import Path

import dj_database_url

SECRET_KEY = "benchmarks-only-" + "0123456789abcdef" * 3
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
# None of the token endpoints needs any; what a site adds here costs each of them the same.
MIDDLEWARE: list[str] = []

# Connections stay open: without that each request would cost everybody several times as much.
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }

if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # Values travel apart from the SQL, and what is run often is planned once.
    DATABASES["default"]["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 5}

# One RSA key of 2048 bits for everybody.
PRIVATE_KEY_PEM = Path(os.environ["BENCHMARK_RSA_KEY"]).read_text()
# "md5" stands for the cheapest password hash that Django has; nobody should use it.
if os.environ.get("BENCHMARK_HASHER") == "md5":
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
