"""Settings that all sites share: the same database options, no middleware, no DEBUG."""

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
# None of the token endpoints needs any. What a site adds here would cost each of them the same.
MIDDLEWARE: list[str] = []

# Connections stay open: otherwise each request would cost every server several times as much.
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }

if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # Values are sent separately from the SQL, and a statement that runs often is planned once.
    DATABASES["default"]["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 5}

# One RSA key of 2048 bits for all servers.
PRIVATE_KEY_PEM = Path(os.environ["BENCHMARK_RSA_KEY"]).read_text()
# "md5" stands for the cheapest password hash that Django has; nobody should use it.
if os.environ.get("BENCHMARK_HASHER") == "md5":
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
