"""A site whose admin has a theme, in a process of its own: themes replace Django's admin site when they load.

    python -m tests.browser.themed_site unfold PORT DATABASE

Prints the product's pages as JSON and then serves them.
"""

from __future__ import annotations

import json
import sys

import django
from django.conf import settings


def main(theme: str, port: str, database: str) -> None:
    from tests import settings as usual

    values = {name: getattr(usual, name) for name in dir(usual) if name.isupper()}
    values["DATABASES"] = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}}
    values["INSTALLED_APPS"] = [theme, *values["INSTALLED_APPS"]]
    values["DEBUG"] = True
    settings.configure(**values)
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from tests.browser.conftest import PASSWORD
    from tests.browser.pages import admin_pages
    from tests.browser.rows import fill
    from tests.factories import UserFactory

    token = fill()
    operator = UserFactory(username="operator", is_staff=True, is_superuser=True)
    operator.set_password(PASSWORD)
    operator.save()
    print(json.dumps(admin_pages(token)), flush=True)
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, verbosity=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
