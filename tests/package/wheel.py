"""Install the built wheel into an empty environment and use it as a new site would."""

from __future__ import annotations

import json
import re
import subprocess
import venv
import zipfile
from pathlib import Path

SETTINGS = """
SECRET_KEY = "x" * 50
DEBUG = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_ciam_token"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
ROOT_URLCONF = "urls"
USE_TZ = True
CIAM_TOKEN = {"ISSUER": "https://id.example.com"}
"""
URLS = """
from django.urls import include, path
urlpatterns = [path("", include("django_ciam_token.urls"))]
"""
REFRESH = """
import json, sys
import django
django.setup()
from django.test import Client
given = json.load(sys.stdin)
form = {"grant_type": "refresh_token", **given}
body = "&".join(f"{name}={value}" for name, value in form.items())
answer = Client(SERVER_NAME="localhost").post(
    "/oauth2/token", body, content_type="application/x-www-form-urlencoded"
)
assert answer.status_code == 200, answer.content
"""
NEEDED = (
    "django_ciam_token/py.typed",
    "django_ciam_token/migrations/0001_initial.py",
    "django_ciam_token/templates/admin/django_ciam_token/new_secret.html",
    "django_ciam_token/static/django_ciam_token/admin.css",
    "django_ciam_token/static/django_ciam_token/admin.js",
    "django_ciam_token/locale/de/LC_MESSAGES/django.mo",
    "django_ciam_token/locale/zh_Hans/LC_MESSAGES/django.mo",
)


def check(wheel: Path, site: Path) -> Path:
    """Return the Python of a new environment in ``site``, which has the wheel and what it needs."""
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    for needed in NEEDED:
        assert needed in names, f"{needed} is not in the wheel"
    foreign = [name for name in names if name.split("/")[0].split("-")[0] != "django_ciam_token"]
    assert not foreign, f"the wheel would install {foreign}"
    [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
    text = archive.read(metadata).decode()
    relative = re.findall(r"\]\((?!https?:)[^)]*\)", text)
    assert not relative, f"links of the description that lead nowhere outside the repository: {relative}"
    # There is no public host yet.
    assert "\nProject-URL:" not in text.split("\n\n")[0], text
    python = use(wheel, site)
    print(f"{wheel.name}: complete and working")
    return python


def use(wheel: Path, site: Path) -> Path:
    venv.create(site / "venv", with_pip=True)
    python = site / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel.resolve()], check=True)
    (site / "settings.py").write_text(SETTINGS)
    (site / "urls.py").write_text(URLS)
    environment = {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(site)}

    def run(*arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [python, *arguments],
            cwd=site,
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(*arguments: str) -> str:
        return run("-m", "django", *arguments)

    manage("migrate")
    manage("check", "--database", "default")
    client = json.loads(manage("create_client", "Site", "--type", "m2m", "--json"))
    tokens = json.loads(manage("issue_tokens", "--client", client["client_id"], "--json"))
    form = {name: client[name] for name in ("client_id", "client_secret")}
    run("-c", REFRESH, text=json.dumps({**form, "refresh_token": tokens["refresh_token"]}))
    named = run("-c", "import django_ciam_token as package; print(package.__version__)").strip()
    assert wheel.name.split("-")[1] == named, f"{wheel.name} calls itself {named}"
    return python
