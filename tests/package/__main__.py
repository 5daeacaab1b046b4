"""Build the distributions and check what a site and a distributor would do with them.

`tox -e package` runs it with the folder that they are left in, together with a bill of materials. Nothing
here is a pytest module.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.package import consumer_types, materials, sdist, wheel

PROJECT = Path(__file__).resolve().parents[2]
# Any instant after 1980, where the time stamps of ZIP begin.
EPOCH = "1767225600"


def build(folder: Path) -> dict[str, str]:
    """Build the sdist, and the wheel from it; return the SHA-256 of each file by its name."""
    shutil.rmtree(folder, ignore_errors=True)
    environment = {"SOURCE_DATE_EPOCH": EPOCH, **os.environ}
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, PROJECT], check=True, env=environment)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def main(folder: Path) -> None:
    once = build(folder)
    with tempfile.TemporaryDirectory() as name:
        again = build(Path(name) / "again")
    assert once == again, f"two builds differ: {once} {again}"
    print("two builds, the same bytes: " + " ".join(f"{digest}  {name}" for name, digest in once.items()))
    subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *map(str, folder.iterdir())], check=True
    )
    [built] = folder.glob("*.whl")
    [source] = folder.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as name:
        site = Path(name)
        python = wheel.check(built, site)
        materials.check(python, PROJECT, folder / f"{built.stem.split('-py3')[0]}.cdx.json")
        consumer_types.check(python, site)
        sdist.check(source, python, site)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
