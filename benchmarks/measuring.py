"""What processes have used so far; the reports show the difference of two readings.

CPU time is the trustworthy figure on a machine that also does other things: it hardly depends on them.
"""

from __future__ import annotations

import time
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process with all its threads, in seconds; 0 if the process has ended.

    It is the value in /proc/PID/stat, but read from the kernel's clock of that process, which counts
    nanoseconds instead of hundredths of a second.
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def children(pid: int) -> set[int]:
    """Return the processes that a process has started: gunicorn's workers.

    A running process may be missing for a moment: the kernel does not stop processes while it lists them.
    """
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def is_there(pid: int) -> bool:
    """Tell whether a process exists."""
    return Path(f"/proc/{pid}").exists()


def memory_bytes(pid: int) -> int:
    """Return a process's proportional share of memory (PSS), or its resident memory if that is unknown."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        [line] = [line for line in text.splitlines() if line.startswith("Pss:")]
    except (OSError, ValueError):
        text = Path(f"/proc/{pid}/status").read_text()
        [line] = [line for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
