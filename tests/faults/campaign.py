"""All faults on all databases, one after the other."""

from __future__ import annotations

import asyncio
import math
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.faults.faults import FAULTS, Fault
from tests.faults.processes import NotThere
from tests.faults.servers import DATABASES, Database
from tests.faults.stage import Row, Size, play

FULL: Final = Size(clients=240, refreshes=20_000, seconds=20, time_box=900)
QUICK: Final = Size(clients=50, refreshes=150, seconds=3, time_box=60)
_SMALL_DISK: Final = "400m"


def run(
    names: Sequence[str],
    *,
    size: Size,
    seed: int,
    quick: bool = False,
    chosen: Callable[[Fault], bool] = lambda fault: True,
    tell: Callable[[int, Row], None] = lambda group, row: None,
) -> list[tuple[int, Row]]:
    """Run the faults and return the rows of the table. The faults of a group share its refreshes."""
    rows: list[tuple[int, Row]] = []
    folder = Path(tempfile.mkdtemp(prefix="ciam-faults-"))
    # Servers that run as another user must be able to enter the folder.
    folder.chmod(0o755)
    is_well = False
    try:
        for name in names:
            faults = [fault for fault in FAULTS if name in fault.databases and chosen(fault)]
            if quick:
                faults = [fault for fault in faults if fault.quick is None or name in fault.quick]
            rows_of = Counter(fault.group for fault in faults)
            for number, (fault, database) in enumerate(_with_databases(name, faults, folder)):
                home = folder / f"site-{name}-{number}"
                with fault.set_up(database) as plan:
                    row = asyncio.run(
                        play(
                            fault.name,
                            database,
                            plan,
                            fault.strike,
                            size=replace(size, refreshes=math.ceil(size.refreshes / rows_of[fault.group])),
                            seed=f"{seed} {fault.group} {fault.name} {name}",
                            folder=home,
                        )
                    )
                rows.append((fault.group, row))
                tell(fault.group, row)
        is_well = not any(row.problems for _, row in rows)
    finally:
        # If there were problems, the servers' logs are kept.
        if is_well:
            shutil.rmtree(folder, ignore_errors=True)
    return rows


def _with_databases(name: str, faults: Sequence[Fault], folder: Path) -> Iterator[tuple[Fault, Database]]:
    """Start a database once for all faults, except those that need a database on its own disk."""
    with _running(name, folder / name) as database:
        for fault in faults:
            if not fault.small_disk:
                yield fault, database
    for number, fault in enumerate(fault for fault in faults if fault.small_disk):
        with _small_disk(folder / f"disk-{name}-{number}") as disk, _running(name, disk / name) as database:
            yield fault, database


@contextmanager
def _running(name: str, folder: Path) -> Iterator[Database]:
    database = DATABASES[name](folder)
    try:
        database.start()
        yield database
    finally:
        database.stop()


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """Mount a small file system, which is filled quickly."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK},mode=755", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        raise NotThere("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
