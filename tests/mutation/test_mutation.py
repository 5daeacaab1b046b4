"""The runner itself, on a project of two functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.campaign import Verdict, read_equivalents, score, summary
from tests.mutation.mutants import CORE, files_of_core, mutants_of, sample
from tests.mutation.reach import Reach
from tests.mutation.stage import Outcome

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENTS = ROOT / "tests" / "mutation" / "equivalents.toml"

CODE = '''\
"""Words."""

LIMIT = 3


def is_allowed(number: int, *, strict: bool = False) -> bool:
    """Tell it."""
    if strict and number < 0:
        raise ValueError("not a number of things")
    return number <= LIMIT


def unused(names: list[str]) -> list[str]:
    return sorted(names, key=len)
'''
TESTS = """\
import pytest
from counted import is_allowed

def test_limit():
    assert is_allowed(3) and not is_allowed(4)

def test_strict():
    with pytest.raises(ValueError):
        is_allowed(-1, strict=True)
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "counted").mkdir()
    (tmp_path / "counted" / "__init__.py").write_text(CODE)
    (tmp_path / "tests" / "mutation").mkdir(parents=True)
    (tmp_path / "tests" / "__init__.py").touch()
    (tmp_path / "tests" / "mutation" / "__init__.py").touch()
    plugin = ROOT / "tests" / "mutation" / "plugin.py"
    (tmp_path / "tests" / "mutation" / "plugin.py").write_text(plugin.read_text())
    (tmp_path / "tests" / "test_counted.py").write_text(TESTS)
    return tmp_path


def _mutants(project):
    return mutants_of(project, files_of_core(project, "counted", ["."]))


def test_every_change_of_a_file(project):
    mutants = [(mutant.scope, mutant.lines[0], mutant.becomes) for mutant in _mutants(project)]

    assert mutants == [
        ("", 3, "LIMIT = 4"),
        ("is_allowed", 6, "def is_allowed(number: int, *, strict: bool = True) -> bool:"),
        ("is_allowed", 8, "if not (strict and number < 0):"),
        ("is_allowed", 8, "if strict or number < 0:"),
        ("is_allowed", 8, "if strict and number <= 0:"),
        ("is_allowed", 8, "if strict and number < 1:"),
        ("is_allowed", 9, "pass"),
        ("is_allowed", 10, "return None"),
        ("is_allowed", 10, "return number < LIMIT"),
        ("unused", 14, "return None"),
        ("unused", 14, "return sorted(names, )"),
    ]


def test_how_a_dataclass_is_declared_is_no_mutant(project):
    """Whether its arguments are named is for those who write the calls."""
    head, declared = "from dataclasses import dataclass", "@dataclass(frozen=True, kw_only=True)"
    code = f"{head}\n\n\n{declared}\nclass Point:\n    x: int = 3\n"
    (project / "counted" / "__init__.py").write_text(code)

    assert [mutant.becomes for mutant in _mutants(project)] == ["x: int = 4"]


def test_a_mutant_differs_from_the_file_in_one_place(project):
    mutant = next(mutant for mutant in _mutants(project) if mutant.becomes == "return number < LIMIT")

    assert mutant.applied_to(CODE.encode()).decode() == CODE.replace("number <= LIMIT", "number < LIMIT")
    assert mutant.name == (
        "counted/__init__.py",
        "is_allowed",
        "return number <= LIMIT",
        "return number < LIMIT",
    )


def test_a_sample_is_the_same_for_the_same_seed(project):
    mutants = _mutants(project)

    assert sample(mutants, 4, seed=1) == sample(mutants, 4, seed=1) != sample(mutants, 4, seed=2)
    assert sample(mutants, None, seed=1) == mutants


def test_the_tests_of_a_mutant_are_those_that_reach_it_the_nearest_first(project):
    near, quick, slow = "tests/test_counted.py::test_a", "tests/test_x.py::test_b", "tests/test_x.py::test_c"
    lines = {
        3: frozenset({""}),
        8: frozenset({near, slow}),
        10: frozenset({quick, slow, near, "tests/x.py::gone"}),
    }
    reach = Reach({"counted/__init__.py": lines}, {near: 3.0, quick: 1.0, slow: 2.0})
    of_line = {mutant.lines[0]: reach.tests_for(mutant) for mutant in _mutants(project)}

    assert of_line[10] == [near, quick, slow]
    assert of_line[8] == [near, slow]
    assert of_line[3] == [near, quick, slow]  # Made at import: whatever uses the file may notice.
    assert of_line[14] == []
    assert reach.within(of_line[10], 4.5) == [near, quick]
    assert reach.within(of_line[10], 1) == [near]


def test_the_score_leaves_out_what_no_test_can_notice(project):
    mutants = iter(_mutants(project))
    outcomes = [Outcome.KILLED, Outcome.KILLED, Outcome.TIMED_OUT, Outcome.SURVIVED, Outcome.EQUIVALENT]
    verdicts = [Verdict(next(mutants), outcome) for outcome in outcomes]

    assert score(verdicts) == 0.75
    assert summary(verdicts) == (
        "5 mutants: 2 killed, 1 survived, 1 timed out, 0 not reached, 1 equivalent; score 75.0%"
    )


def test_a_whole_run(project):
    """What the tests of the little project notice, and what they don't."""
    code = project / "counted" / "__init__.py"
    code.write_text("def is_allowed(number):\n    return number <= 3\n\n\ndef unused():\n    return []\n")
    (project / "tests" / "test_counted.py").write_text(
        "from counted import is_allowed\n\ndef test_it():\n    assert is_allowed(3) and not is_allowed(5)\n"
    )
    (project / "tests" / "mutation" / "equivalents.toml").write_text(
        '[[mutant]]\nfile = "counted/__init__.py"\nscope = "is_allowed"\nwas = "return number <= 3"\n'
        'becomes = "return None"\nreason = "An example."\n'
    )
    command = [sys.executable, "-m", "tests.mutation", "--root", project, "--folder", project / ".kept"]
    options = ["--package", "counted", "--only", ".", "--without-database", "--arguments=-p pytest_cov"]
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    report = json.loads((project / ".kept" / "report.json").read_text())
    outcomes = {(one["scope"], one["becomes"]): one["outcome"] for one in report["mutants"]}
    assert outcomes == {
        ("is_allowed", "return None"): "equivalent",
        ("is_allowed", "return number < 3"): "killed",
        ("is_allowed", "return number <= 4"): "survived",
        ("unused", "return None"): "not reached",
    }
    assert "return number <= 3" in code.read_text()


def test_every_mutant_in_the_list_of_equivalents_exists():
    """What is listed for code that has changed since is to be judged anew."""
    listed = read_equivalents(EQUIVALENTS)
    known = {mutant.name for mutant in mutants_of(ROOT, files_of_core(ROOT, "django_ciam_token", CORE))}

    assert [name for name in listed if name not in known] == []
    assert all(reason.endswith(".") for reason in listed.values())
