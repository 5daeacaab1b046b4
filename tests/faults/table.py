"""The table of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from tests.faults.stage import Row

COLUMNS: Final = (
    *("", "fault", "database", "strikes", "refused", "requests", "refreshes", "no answer", "503"),
    *("retries", "replays", "thefts", "lost", "wrongly accepted", "other 5xx", "seconds"),
)


def cells(group: int, row: Row) -> list[str]:
    """Return the cells of one row."""
    tally = row.tally
    numbers = (
        *(row.strikes, row.refusals.total(), tally.requests, tally.refreshes, tally.unanswered),
        *(tally.unavailable, tally.retries, tally.replays, tally.thefts, tally.lost, tally.wrongly_accepted),
        *(tally.errors, round(row.seconds)),
    )
    return [str(group), row.fault, row.database, *(f"{number:,}" for number in numbers)]


def render(rows: Sequence[tuple[int, Row]]) -> str:
    """Return the table in Markdown, with aligned columns."""
    lines = [list(COLUMNS), *(cells(group, row) for group, row in rows)]
    total = ["", "total", ""]
    numbers = range(3, len(COLUMNS))
    total += [f"{sum(int(line[column].replace(',', '')) for line in lines[1:]):,}" for column in numbers]
    lines.append(total)
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]

    def written(line: Sequence[str]) -> str:
        texts = [
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(texts)} |"

    rule = [("-" * width if column < 3 else "-" * (width - 1) + ":") for column, width in enumerate(widths)]
    return "\n".join([written(lines[0]), f"| {' | '.join(rule)} |", *map(written, lines[1:])])


def render_refusals(rows: Sequence[tuple[int, Row]]) -> str:
    """Return the errors with which each database refused attempts, the most frequent first."""
    found: dict[str, Counter[str]] = {}
    for _, row in rows:
        found.setdefault(row.database, Counter()).update(row.refusals)
    lines = (
        f"{database}: " + ", ".join(f"{reason} ({count:,})" for reason, count in refusals.most_common())
        for database, refusals in found.items()
        if refusals
    )
    return "\n".join(lines)
