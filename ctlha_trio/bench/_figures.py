"""Figures of several rounds: what was measured in each, and what stands beside what."""

import statistics
from collections.abc import Mapping, Sequence
from enum import Enum

import attrs


class Unit(Enum):
    """What a figure counts, and how it is shown."""

    MESSAGES = "msg/s"
    MICROSECONDS = "us"
    MEGABYTES = "MB/s"
    """Of 1,000,000 bytes."""


@attrs.frozen
class Figure:
    """One thing that is measured in each round."""

    name: str
    """For programs."""
    title: str
    """For people."""
    unit: Unit


@attrs.frozen(kw_only=True)
class Comparison:
    """A figure beside another one of the same round."""

    name: str
    title: str
    figure: str
    beside: str
    at_least: float | None = None
    at_most: float | None = None
    """What is demanded of the ratio, if anything is."""

    def is_met(self, ratio: float) -> bool | None:
        """None where nothing is demanded."""
        if self.at_least is not None:
            return ratio >= self.at_least
        return None if self.at_most is None else ratio <= self.at_most

    @property
    def target(self) -> str:
        """For people; empty where nothing is demanded."""
        if self.at_least is not None:
            return f">= {self.at_least:g} x"
        return "" if self.at_most is None else f"<= {self.at_most:g} x"


@attrs.frozen
class Spread:
    """A median, and between what the rounds lie."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of one value a round, at least one."""
        return cls(statistics.median(values), min(values), max(values))


@attrs.define(eq=False)
class Results:
    """Values by the name of their figure, one for each round."""

    figures: Sequence[Figure]
    comparisons: Sequence[Comparison]
    rounds: dict[str, list[float]] = attrs.field(factory=dict, init=False)

    def add(self, values: Mapping[str, float]) -> None:
        """What was measured together in one round."""
        for name, value in values.items():
            self.rounds.setdefault(name, []).append(value)

    def spread(self, name: str) -> Spread:
        """Of one figure."""
        return Spread.of(self.rounds[name])

    def ratio(self, comparison: Comparison) -> Spread:
        """Of each round by itself: what a busy machine takes from both of them does not count."""
        pairs = zip(self.rounds[comparison.figure], self.rounds[comparison.beside], strict=True)
        return Spread.of([value / beside for value, beside in pairs])

    def as_json(self) -> dict[str, object]:
        """Everything, rounded to what can be believed."""
        return {
            "figures": {
                figure.name: {"unit": figure.unit.value, **_rounded(self.spread(figure.name), 1)}
                for figure in self.figures
            },
            "ratios": {each.name: _rounded(self.ratio(each), 3) for each in self.comparisons},
        }


def _rounded(spread: Spread, digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in attrs.asdict(spread).items()}
