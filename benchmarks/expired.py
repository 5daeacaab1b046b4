"""Adds sessions that expired long ago.

python -m benchmarks.expired ROWS
"""

from __future__ import annotations

import sys

import django

if __name__ == "__main__":
    django.setup()
    from benchmarks.sites.ours.seed import fill

    fill(int(sys.argv[1]), age="200 days")
