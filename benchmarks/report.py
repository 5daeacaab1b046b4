"""Tables in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.comparison import Measured

_PACKAGES: Final = (
    *("django", "djangorestframework", "gunicorn", "psycopg", "cryptography", "pyjwt", "django-ciam-token"),
    *("django-oauth-toolkit", "djangorestframework-simplejwt", "django-allauth", "authlib"),
)


def machine(*servers: str) -> str:
    """Describe what the measurements were made on."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{_processor()}, {os.cpu_count()} CPUs; {platform.system()}; Python {platform.python_version()}; "
        f"{', '.join(servers)}; {packages}"
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def milliseconds(seconds: float | None) -> str:
    """Format a time."""
    return "-" if seconds is None else f"{seconds * 1000:.2f}"


def comparison(measured: Mapping[str, Measured]) -> str:
    """Return the tables of the comparison: the measurements, and the ratios to ours."""
    rates, costs, ratios = [], [], []
    for name, one in measured.items():
        label, described = one.running.server.label, one.described
        many = [milliseconds(one.median(quantile)) for quantile in ("p50", "p95", "p99")]
        single = [milliseconds(one.median(quantile, of="one")) for quantile in ("p50", "p95", "p99")]
        rates.append(
            [label, f"{one.median('rate'):.1f}", *many, f"{one.median('rate', of='one'):.1f}", *single]
        )
        costs.append(
            [
                label,
                milliseconds(one.median("server_cpu")),
                milliseconds(one.median("database_cpu")),
                milliseconds(one.median("load_cpu")),
                described["statements"],
                _whole(one.median("log")),
                f"{(one.median('memory') or 0) / 2**20:.0f}",
                described["jwts"],
            ]
        )
        if "ours" in measured and name != "ours":
            ours = measured["ours"]
            ratios.append(
                [
                    label,
                    *(_ratio(ours, one, figure) for figure in ("rate", "server_cpu", "database_cpu")),
                ]
            )
    quantiles = ["p50 ms", "p95 ms", "p99 ms"]
    parts = [
        table(["server", "req/s, 16", *quantiles, "req/s, 1", *quantiles], rates),
        table(
            [
                "per refresh",
                "server CPU ms",
                "database CPU ms",
                "load CPU ms",
                "statements",
                "log bytes",
                "MiB a worker",
                "JWTs signed",
            ],
            costs,
        ),
    ]
    if ratios:
        parts.append(table(["ours divided by", "req/s, 16", "server CPU", "database CPU"], ratios))
    return "\n\n".join(parts)


def _whole(number: float | None) -> str:
    return "-" if number is None else f"{number:.0f}"


def _ratio(ours: Measured, other: Measured, figure: str) -> str:
    """Divide round by round; return the median and the range of the middle half of the rounds."""
    pairs = zip(ours.many, other.many, strict=True)
    quotients = sorted(a[figure] / b[figure] for a, b in pairs if a[figure] and b[figure])
    if not quotients:
        return "-"
    aside = len(quotients) // 4
    least, median, most = quotients[aside], quotients[len(quotients) // 2], quotients[-1 - aside]
    return f"{median:.3g} ({least:.3g} to {most:.3g})"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
