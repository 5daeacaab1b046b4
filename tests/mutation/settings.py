"""The settings of the tests, with a database that is there already: making one costs more than most tests."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["default"]["TEST"] = {"NAME": os.environ["CIAM_MUTATION_DATABASE"]}
