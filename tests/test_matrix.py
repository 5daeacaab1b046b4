"""Each two of Python, Django and database meet in some environment of the test matrix."""

from __future__ import annotations

import configparser
import re
from itertools import combinations, product
from pathlib import Path

TOX_INI = Path(__file__).resolve().parent.parent / "tox.ini"

# The README's test command, run by CI with Python 3.11: the newest Django that it takes, on SQLite.
README = ("py311", "django52", "sqlite")
PYTHONS = ("py310", "py311", "py312", "py313")
DJANGOS = ("django52", "django60", "django61")
DATABASES = ("sqlite", "postgresql", "mariadb")
# `lowest` is one of the matrix, with the oldest releases of everything else.
LOWEST = ("py310", "django52", "sqlite")
# Newer than the drivers of the databases: on SQLite, with the newest Django.
NEWEST = {("py314", "django61", "sqlite"), ("py315", "django61", "sqlite")}
TOO_OLD = set(product(("py310", "py311"), ("django60", "django61")))


def expanded(name):
    """Return the names of environments that a name with braces stands for."""
    found = re.search(r"\{([^{}]*)\}", name)
    if found is None:
        return [name]
    before, after = name[: found.start()], name[found.end() :]
    return [one for choice in found[1].split(",") for one in expanded(before + choice + after)]


def environments():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(TOX_INI)
    names = [one for line in tox["tox"]["env_list"].split() for one in expanded(line)]
    found = [LOWEST if name == "lowest" else tuple(name.split("-")) for name in names]
    return [environment for environment in found if re.match(r"py\d+$", environment[0])]


def test_each_two_meet_somewhere():
    matrix = {*environments(), README} - NEWEST
    met = {pair for environment in matrix for pair in combinations(environment, 2)}
    wanted = {*product(PYTHONS, DJANGOS), *product(PYTHONS, DATABASES), *product(DJANGOS, DATABASES)}

    assert met == wanted - TOO_OLD


def test_nothing_is_run_twice():
    matrix = [*environments(), README]

    assert len(set(matrix)) == len(matrix) == 14 + len(NEWEST)


def test_the_newest_pythons_are_run():
    assert set(environments()) >= NEWEST


def test_what_is_run_is_what_the_package_claims():
    """No classifier without a run, and no run of a version that is not claimed."""
    text = (TOX_INI.parent / "pyproject.toml").read_text()

    def claimed(pattern):
        return {"".join(version.split(".")) for version in re.findall(pattern, text)}

    run = {name for environment in [*environments(), README] for name in environment}
    pythons = {f"py{version}" for version in claimed(r"Python :: (3\.\d+)")}
    djangos = {f"django{version}" for version in claimed(r"Django :: (\d\.\d)")}
    assert run - set(DATABASES) == pythons | djangos


def test_each_run_leaves_a_report_of_its_own():
    """.ci/summary.py takes a test that no report has as run for one that never runs."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(TOX_INI)
    commands = [
        command
        for name in tox.sections()
        for command in tox[name].get("commands", "").replace("\\\n", " ").splitlines()
        if "pytest" in command
    ]
    reports = [(re.findall(r"--junitxml=(\S+)", command), command) for command in commands]

    assert [command for found, command in reports if len(found) != 1] == []
    for name in tox.sections():
        of_one = re.findall(r"--junitxml=(\S+)", tox[name].get("commands", ""))
        assert len(of_one) == len(set(of_one)), name
