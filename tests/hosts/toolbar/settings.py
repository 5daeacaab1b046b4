"""A site with django-debug-toolbar, which a few people see though DEBUG is off."""

import os

import dj_database_url

SECRET_KEY = "tests-only-" + "0123456789abcdef" * 3
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "debug_toolbar",
    "django_ciam_token",
]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None)}
MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
STATIC_URL = "static/"
ROOT_URLCONF = "tests.hosts.toolbar.urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEBUG_TOOLBAR_PANELS = ["tests.hosts.toolbar.panel.CountingPanel"]
DEBUG_TOOLBAR_CONFIG = {
    "SHOW_TOOLBAR_CALLBACK": "tests.hosts.toolbar.panel.is_shown",
    "IS_RUNNING_TESTS": False,
}
CIAM_TOKEN = {"ISSUER": "https://id.example.com", "SIGNING_ALGORITHM": "ES256"}
