"""The geometry of small bar charts, which a template draws as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils.formats import number_format

HEIGHT = 60
"""Height of a chart's view box. Its width is ten units per bar."""


@dataclass(frozen=True)
class Bar:
    """A day and its figure."""

    day: date
    number: int
    x: int
    y: float
    height: float


@dataclass(frozen=True)
class Chart:
    """A figure per day, the oldest first."""

    title: str
    bars: tuple[Bar, ...]
    is_bad: bool = False
    """Whether it counts something undesirable."""

    @property
    def total(self) -> int:
        """The sum of all days."""
        return sum(bar.number for bar in self.bars)

    @property
    def total_in_words(self) -> str:
        """The sum, formatted for people."""
        return number_format(self.total, force_grouping=True)

    @property
    def width(self) -> int:
        """The width of the view box."""
        return 10 * len(self.bars)


def chart(title: str, numbers: Sequence[int], *, last_day: date, is_bad: bool = False) -> Chart:
    """Compute the bars. Every day that is not zero is visible, however small it is compared with the rest."""
    highest = max(numbers, default=0) or 1
    first_day = last_day - timedelta(days=len(numbers) - 1)
    bars = []
    for position, number in enumerate(numbers):
        height = round(max(2.0, (HEIGHT - 2) * number / highest), 1) if number else 0.5
        day = first_day + timedelta(days=position)
        bars.append(Bar(day, number, 10 * position + 1, round(HEIGHT - height, 1), height))
    return Chart(title=title, bars=tuple(bars), is_bad=is_bad)
