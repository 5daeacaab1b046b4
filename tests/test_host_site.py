"""A developers' site: http, DEBUG, a short SECRET_KEY, and the tests of the guide as its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import django_ciam_token

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "testing.md"
MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """
SECRET_KEY = "short"
DEBUG = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_ciam_token"]
ROOT_URLCONF = "urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
CIAM_TOKEN = {
    "ISSUER": "http://localhost:8000",
    "SCOPES": {"openid": "Sign you in", "orders:read": "Read your orders"},
    "SIGNING_ALGORITHM": "ES256",
}
REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"]}
"""
URLS = """
from django.urls import include, path
from rest_framework.response import Response
from rest_framework.views import APIView
from django_ciam_token.resource_server import AccessTokenAuthentication, TokenHasScopes


class OrdersView(APIView):
    authentication_classes = [AccessTokenAuthentication]
    permission_classes = [TokenHasScopes]
    required_scopes = ["orders:read"]

    def get(self, request):
        return Response([])


urlpatterns = [path("orders", OrdersView.as_view()), path("", include("django_ciam_token.urls"))]
"""


@pytest.fixture
def manage(tmp_path):
    """Run a command of the site."""
    [block] = re.findall(r"<!-- code: testing -->\n```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    files = {"manage.py": MANAGE, "settings.py": SETTINGS, "urls.py": URLS, "tests.py": block}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    # The package that these tests import, however it was installed.
    environment = {**os.environ, "PYTHONPATH": str(Path(django_ciam_token.__file__).resolve().parent.parent)}

    def run(*arguments):
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_the_tests_of_the_guide_pass_as_written(manage):
    tests = manage("test")

    assert tests.returncode == 0, tests.stderr
    assert "Ran 2 tests" in tests.stderr
    # The runner has set DEBUG to False.
    assert "(django_ciam_token.W008)" in tests.stderr


def test_what_is_good_enough_for_development_is_not_for_a_deployed_site(manage):
    here, deployed = manage("check"), manage("check", "--deploy")

    assert here.returncode == 0, here.stderr
    # It has all the URLs, and no middleware for people.
    assert re.findall(r"django_ciam_token\.(\w+)", here.stderr) == ["W001", "W020", "W021", "W021"]
    assert deployed.returncode == 1
    assert "(django_ciam_token.I001)" in deployed.stderr
    errors = deployed.stderr.partition("WARNINGS:")[0]
    assert re.findall(r"django_ciam_token\.\w+", errors) == [
        "django_ciam_token.E005",
        "django_ciam_token.E006",
    ]
