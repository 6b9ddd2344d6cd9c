"""The renaming of all counters of one world: found from what its parts count, applied to each part."""

from collections import defaultdict
from typing import Any, Final

import attrs

from ctlha_trio.testing._explore.counters import Counters, Space, proposal_parts, ranks, visit_counters

OTHER: Final = {"a": "b", "b": "a"}


@attrs.define(eq=False)
class Renaming:
    """New numbers for all that a world counts."""

    flip: bool
    epochs_down: int
    fetches_down: dict[str, int]
    proposed: dict[str, dict[int, int]]
    """By the node that proposed."""
    sequences: dict[int, int]
    next_sequences: dict[str, dict[int, int]]
    sessions: dict[str, dict[int, int]]
    incarnations: dict[int, int]
    proposals: dict[tuple[int, int], int]
    tickets: dict[int, int]

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for renamings that do the same."""
        return (
            self.flip,
            self.epochs_down,
            *self.fetches_down.values(),
            *(tuple(sorted(numbers.items())) for numbers in self._numbers),
            tuple(sorted(self.proposals.items())),
        )

    @property
    def _numbers(self) -> tuple[dict[int, int], ...]:
        own = (*self.next_sequences.values(), *self.sessions.values(), *self.proposed.values())
        return (self.sequences, *own, self.incarnations, self.tickets)

    @property
    def changes_nothing(self) -> bool:
        """Whether every number stays."""
        same = all(old == new for numbers in self._numbers for old, new in numbers.items())
        moved = self.flip or self.epochs_down or any(self.fetches_down.values())
        return same and not moved and all(number == new for (_, number), new in self.proposals.items())

    def apply(self, part: Any, me: str) -> Any:
        """The part, which belongs to node ``me``, with its new numbers."""
        made_by = part.core.incarnation if getattr(part, "core", None) else 0

        def visit(space: Space, value: Any) -> Any:
            if space is Space.NAME:
                return OTHER[value] if self.flip else value
            if space is Space.PROPOSAL:
                return self._proposal(value)
            if space is Space.PROPOSALS:
                return self.proposals[made_by, value]
            if space is Space.DIGEST:
                return digest_of(self.tickets[int.from_bytes(value, "big")])
            return self._number(space, value, me)

        return visit_counters(part, visit)

    def _number(self, space: Space, value: int, me: str) -> int:
        match space:
            case Space.EPOCH:
                return value - self.epochs_down if value else value
            case Space.SEQUENCE | Space.LAST_SEQUENCE:
                return self.sequences[value] if value else 0
            case Space.NEXT_SEQUENCE:
                return self.next_sequences[me][value]
            case Space.FETCHES:
                return value - self.fetches_down[me]
            case Space.FETCH:
                return value - self.fetches_down[me] if value else 0
            case Space.PROPOSED | Space.PROPOSED_LAST:
                return self.proposed[me].get(value, 0)
            case Space.TAKEN | Space.TAKEN_LAST:
                return self.proposed[OTHER[me]].get(value, 0)
            case Space.INCARNATION:
                return self.incarnations[value] if value else 0
            case Space.SESSION:
                return self.sessions[me][value]
            case Space.TICKET:
                return self.tickets[value] if value else 0
            case _:
                raise AssertionError(space)

    def _proposal(self, proposal: str) -> str:
        parts = proposal_parts(proposal)
        return proposal if parts is None else f"{self.incarnations[parts[0]]:016x}{self.proposals[parts]:016x}"


def digest_of(value: int) -> bytes:
    """Different for different values."""
    return value.to_bytes(32, "big")


@attrs.frozen(cache_hash=True)
class Count:
    """The counters of one part or of several: as much of them as decides a renaming."""

    epochs: frozenset[int]
    """The lowest, or none."""
    sequences: frozenset[int]
    next_sequence: int
    """That of a node's process; 0 for none, and below."""
    last_sequence: int
    fetches: frozenset[int]
    """The lowest, or none."""
    proposed: frozenset[int]
    """Under way, of the node to which the part belongs."""
    taken: frozenset[int]
    """Of the other node."""
    proposed_last: frozenset[int]
    taken_last: frozenset[int]
    sessions: frozenset[int]
    own: int
    """The incarnation of a node's process; 0 for none."""
    incarnations: tuple[int, ...]
    heard: tuple[int, ...]
    """Incarnations, too: those of what a node has yet to hear."""
    proposals: frozenset[tuple[int, int]]
    made: frozenset[tuple[int, int]]
    tickets: frozenset[int]

    @property
    def incarnation_max(self) -> int:
        """The largest that is remembered."""
        proposers = (each for each, _ in self.proposals | self.made)
        return max((*self.incarnations, *self.heard, *proposers), default=0)

    def beside(self, other: "Count") -> "Count":
        """This part with one that has no process: a node with what it has yet to hear, the arbiter with clients."""
        return Count(
            epochs=_lowest(self.epochs | other.epochs),
            sequences=self.sequences | other.sequences,
            next_sequence=self.next_sequence,
            last_sequence=self.last_sequence,
            fetches=_lowest(self.fetches | other.fetches),
            proposed=self.proposed | other.proposed,
            taken=self.taken | other.taken,
            proposed_last=self.proposed_last | other.proposed_last,
            taken_last=self.taken_last | other.taken_last,
            sessions=self.sessions | other.sessions,
            own=self.own,
            incarnations=self.incarnations,
            heard=other.incarnations,
            proposals=self.proposals | other.proposals,
            made=self.made | other.made,
            tickets=self.tickets | other.tickets,
        )


def _lowest(values: frozenset[int]) -> frozenset[int]:
    return frozenset({min(values)}) if values else values


def count(counters: Counters) -> Count:
    """What one part counts."""
    found: dict[Space, list[Any]] = defaultdict(list)
    for space, value in counters:
        found[space].append(value)
    # An operation that waits for a fetch must not come to wait for none, which is 0.
    awaited = [value - 1 for value in found[Space.FETCH] if value]
    return Count(
        epochs=_lowest(frozenset(found[Space.EPOCH]) - {0}),
        sequences=frozenset(found[Space.SEQUENCE] + found[Space.LAST_SEQUENCE]) - {0},
        next_sequence=next(iter(found[Space.NEXT_SEQUENCE]), 0),
        last_sequence=next(iter(found[Space.LAST_SEQUENCE]), 0),
        fetches=_lowest(frozenset(found[Space.FETCHES] + awaited)),
        proposed=frozenset(found[Space.PROPOSED]) - {0},
        taken=frozenset(found[Space.TAKEN]) - {0},
        proposed_last=frozenset(found[Space.PROPOSED_LAST]),
        taken_last=frozenset(found[Space.TAKEN_LAST]),
        sessions=frozenset(found[Space.SESSION]),
        own=next(iter(found[Space.INCARNATION]), 0),
        incarnations=tuple(value for value in found[Space.INCARNATION] if value),
        heard=(),
        proposals=frozenset(found[Space.PROPOSAL]),
        made=frozenset(found[Space.PROPOSALS]),
        tickets=frozenset(found[Space.TICKET]) - {0},
    )


def find_renaming(a: Count, b: Count, middle: Count, *, flip: bool) -> Renaming:
    """What makes worlds one that differ by nothing but what they count from.

    ``a`` and ``b`` are the nodes, each with what it has yet to hear, ``middle`` is what belongs to neither.
    """
    every = (a, b, middle)
    nodes = {"a": a, "b": b}
    proposals = a.proposals | b.proposals | middle.proposals
    known = a.sequences | b.sequences | middle.sequences
    for node in (a, b):
        if 0 < node.next_sequence <= node.last_sequence:
            known |= {node.next_sequence, node.last_sequence + 1}
    sequences = ranks(known, 1)
    return Renaming(
        flip=flip,
        epochs_down=min(min(each.epochs) for each in every if each.epochs) - 1,
        fetches_down={name: min(node.fetches, default=0) for name, node in nodes.items()},
        proposed={"a": _proposed(a, b), "b": _proposed(b, a)},
        sequences=sequences,
        next_sequences={name: {node.next_sequence: _next_sequence(node, sequences)} for name, node in nodes.items()},
        sessions={name: ranks(node.sessions, 0) for name, node in nodes.items()},
        incarnations=_incarnations(*((b, a) if flip else (a, b)), proposals),
        proposals=_proposals(proposals, a.made | b.made),
        tickets=ranks(a.tickets | b.tickets | middle.tickets, 1),
    )


def _proposed(mine: Count, peers: Count) -> dict[int, int]:
    """Of one node. Those under way begin at 1; the next one is behind them and behind all that were taken."""
    under_way = mine.proposed | peers.taken
    last = mine.proposed_last | peers.taken_last
    lowest = min(under_way | last, default=0)
    return ranks(under_way | last, 1 if lowest in under_way else 0)


def _next_sequence(node: Count, sequences: dict[int, int]) -> int:
    if not node.next_sequence:
        return 0
    above = node.next_sequence > node.last_sequence
    return len(sequences) + 1 if above else sequences[node.next_sequence]


def _incarnations(primary: Count, other: Count, proposals: frozenset[tuple[int, int]]) -> dict[int, int]:
    met = dict.fromkeys((primary.own, other.own))
    met |= dict.fromkeys((*primary.incarnations, *other.incarnations, *primary.heard, *other.heard))
    met |= dict.fromkeys(sorted(incarnation for incarnation, _ in proposals))
    return {old: new for new, old in enumerate((each for each in met if each), 1)}


def _proposals(named: frozenset[tuple[int, int]], made: frozenset[tuple[int, int]]) -> dict[tuple[int, int], int]:
    new: dict[tuple[int, int], int] = {}
    last: dict[int, int] = defaultdict(int)
    for incarnation, number in sorted(named):
        last[incarnation] += 1
        new[incarnation, number] = last[incarnation]
    for incarnation, number in made:
        # The next one must differ from all that are named, and that is all that counts.
        new.setdefault((incarnation, number), last[incarnation])
    return new
