"""The event history of a simulated pair: its digest, its last lines for whoever reads a failure, or all its lines."""

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from operator import attrgetter
from typing import Any, Final, NamedTuple

import attrs

from ctlha_trio.pair import PairState, Phase, actions as act, events as ev
from ctlha_trio.testing._core.words import IN_SECTORS, NOTHING_READ, Words

LINES_KEPT: Final = 80
LINES_HASHED_AT_ONCE: Final = 128
TIMELINE_HEADER: Final = f"{'line':>7} {'time_s':>12} node {'phase':>12} -> {'phase after':12} epoch event => orders"
"""Time is simulated, from the start of the seed; the epoch is the one that the node acts in after the event."""


class EventLine(NamedTuple):
    """One step of one node, or (``note``) what befell the world. Put into words only when somebody asks."""

    number: int
    now_s: float
    node: str = "-"
    before: Phase | None = None
    after: Phase | None = None
    epoch: int = 0
    event: ev.Event | None = None
    ordered: tuple[act.Action, ...] = ()
    data: Mapping[int, int | str] | None = None
    """That came with the event."""
    read: Mapping[int, int | str] = NOTHING_READ
    """What reads that are answered have read, by ticket."""
    note: str = ""
    words: Words = IN_SECTORS

    def __str__(self) -> str:
        """As columns, under ``TIMELINE_HEADER``."""
        place = f"{self.number:7} {self.now_s:12.6f} {self.node:>4}"
        if self.event is None or self.before is None or self.after is None:
            return f"{place} {self.note}"
        ordered = ", ".join(self.words.order(each, self.read) for each in self.ordered)
        phases = f"{self.before.name:>12} -> {self.after.name:12}"
        return f"{place} {phases} {self.epoch:5} {self.words.event(self.event, self.data)} => {ordered or 'nothing'}"


@attrs.define(eq=False)
class EventHistory:
    """Every event and every order in one digest, the same for the same seed on any machine and Python."""

    watch: Callable[[EventLine], None] | None = None
    """Told of every line."""
    words: Words = IN_SECTORS
    events: int = 0
    """Steps of a core."""
    lines: deque[EventLine] = attrs.field(factory=lambda: deque(maxlen=LINES_KEPT))
    _number: int = attrs.field(default=0, init=False)
    _hash: Any = attrs.field(factory=hashlib.sha256, init=False)
    _unhashed: list[tuple[object, ...]] = attrs.field(factory=list, init=False)

    def stepped(  # noqa: PLR0917 (called at every step)
        self,
        now_s: float,
        node: str,
        before: PairState,
        after: PairState,
        event: ev.Event,
        ordered: tuple[act.Action, ...],
        data: Mapping[int, int | str] | None = None,
        read: Mapping[int, int | str] = NOTHING_READ,
    ) -> None:
        """A core took an event; the data that came with it, and what the reads that it answers have read."""
        self.events += 1
        self._unhashed.append((now_s, node, canonical(event), *map(canonical, ordered)))
        phases = before.phase, after.phase
        line = EventLine(self._number, now_s, node, *phases, after.epoch, event, ordered, data, read, words=self.words)
        self._add(line)

    def noted(self, now_s: float, node: str, note: str) -> None:
        """Something happened that no core was told of."""
        self._unhashed.append((now_s, node, note))
        self._add(EventLine(self._number, now_s, node, note=note, words=self.words))

    @property
    def digest(self) -> str:
        """SHA-256 of everything so far, in hexadecimal."""
        self._hash_lines()
        return str(self._hash.hexdigest())

    def _add(self, line: EventLine) -> None:
        self._number += 1
        self.lines.append(line)
        if self.watch is not None:
            self.watch(line)
        if len(self._unhashed) == LINES_HASHED_AT_ONCE:
            self._hash_lines()

    def _hash_lines(self) -> None:
        for line in self._unhashed:
            self._hash.update(repr(line).encode())
        self._unhashed.clear()


_PLAIN: Final = frozenset({int, float, str, bytes, bool, type(None)})
"""Types whose ``repr`` is the same for the same value, everywhere."""
_FIELDS: Final[dict[type, Callable[[Any], tuple[object, ...]]]] = {}


def canonical(value: Any) -> object:
    """The value as nested tuples of plain values."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is tuple:
        return tuple([each if type(each) in _PLAIN else canonical(each) for each in value])
    if isinstance(value, Enum):
        return value.value
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = _FIELDS[kind] = _fields_of(kind)
    return (kind.__name__, *[each if type(each) in _PLAIN else canonical(each) for each in fields(value)])


def _fields_of(kind: type) -> Callable[[Any], tuple[object, ...]]:
    names = [field.name for field in attrs.fields(kind)]
    match names:
        case []:
            return lambda _: ()
        case [name]:
            get = attrgetter(name)
            return lambda value: (get(value),)
        case _:
            return attrgetter(*names)
