"""The tutorial, followed from its first line to its last, in an empty folder."""

from __future__ import annotations

import shutil

import pytest

from tests.docs.reader import TUTORIAL, Reader


@pytest.fixture
def reader(tmp_path):
    if not (shutil.which("bash") and shutil.which("curl")):
        pytest.skip("the tutorial's reader has bash and curl")
    reader = Reader(tmp_path)
    yield reader
    reader.close()


def test_the_tutorial_works_as_written(reader):
    reader.follow(TUTORIAL.read_text())

    first, repeated = reader.answers
    assert repeated["refresh_token"] == first["refresh_token"]
