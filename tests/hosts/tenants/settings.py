"""A site with a PostgreSQL schema for each customer, as django-tenants makes them."""

import os

import dj_database_url

SECRET_KEY = "tests-only-" + "0123456789abcdef" * 3
ALLOWED_HOSTS = ["*"]
USE_TZ = True

SHARED_APPS = [
    "django_tenants",
    "tests.hosts.tenants",
    "corsheaders",
    "django.contrib.auth",
    "django.contrib.contenttypes",
]
TENANT_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_ciam_token"]
INSTALLED_APPS = list(dict.fromkeys([*SHARED_APPS, *TENANT_APPS]))
TENANT_MODEL = "tenants.Customer"
TENANT_DOMAIN_MODEL = "tenants.Domain"

DATABASES = {
    "default": {
        **dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None),
        "ENGINE": "django_tenants.postgresql_backend",
        "OPTIONS": {"server_side_binding": True, "prepare_threshold": 1},
    }
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
MIDDLEWARE = [
    "tests.hosts.tenants.middleware.TenantOfHost",
    "corsheaders.middleware.CorsMiddleware",
]
ROOT_URLCONF = "tests.hosts.tenants.urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CIAM_TOKEN = {"ISSUER": "https://id.example.com", "SIGNING_ALGORITHM": "ES256"}
