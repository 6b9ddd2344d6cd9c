"""Histories that are linearizable because a register made them: what the check must accept, and what measures it."""

import math
from collections.abc import Iterator
from random import Random

import attrs

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing._history.linearizability_records import ZEROS, ClientOperation

LATE_MAX = 20.0
"""How long after its client gave up a write may still take effect, in mean durations of an operation."""


@attrs.frozen(kw_only=True)
class SampleHistory:
    """Clients that ask one operation after the other; each takes effect at a random moment while it is under way."""

    clients: int
    operations: int
    """Of each client."""
    blocks: int = 1
    values: int = 0
    """From how many values, zeros among them, writes take theirs; 0 for a new one for each."""
    unknown_chance: float = 0.0
    """Of a write: its client gives up, and it takes effect before that, later, or never."""
    refused_chance: float = 0.0
    """Of an operation: it is not executed."""
    crashes: int = 0
    """Moments at which all that is under way is given up, and has taken effect or never will."""

    def make(self, random: Random) -> list[ClientOperation]:
        """Return the operations in the order of their calls; the same for the same state of ``random``."""
        calls = sorted(
            (called, takes_effect, returned, client)
            for client in range(self.clients)
            for called, takes_effect, returned in self._times(random)
        )
        end = max(returned for _, _, returned, _ in calls)
        crashes = [random.uniform(0, end) for _ in range(self.crashes)]
        fated = [self._fate(random, ticket, call, crashes) for ticket, call in enumerate(calls, 1)]
        registers: dict[int, int] = {}
        made: dict[int, ClientOperation] = {}
        for takes_effect, operation in sorted(fated, key=lambda each: each[0]):
            made[operation.ticket] = operation
            if operation.kind is OperationKind.READ:
                found = registers.get(operation.block, ZEROS)
                made[operation.ticket] = attrs.evolve(operation, value=found)
            elif takes_effect < math.inf:
                registers[operation.block] = operation.value
        return [made[ticket] for ticket in sorted(made)]

    def _times(self, random: Random) -> Iterator[tuple[float, float, float]]:
        """When each operation of a client is called, takes effect and returns."""
        now = 0.0
        for _ in range(self.operations):
            called = now + random.expovariate(20)
            takes_effect = called + random.expovariate(2)
            now = takes_effect + random.expovariate(2)
            yield called, takes_effect, now

    def _fate(
        self, random: Random, ticket: int, call: tuple[float, float, float, int], crashes: list[float]
    ) -> tuple[float, ClientOperation]:
        """When an operation takes effect, after all, and what its client is told."""
        called, takes_effect, returned, client = call
        kind = random.choice((OperationKind.READ, OperationKind.WRITE))
        outcome = Outcome.DONE
        crash = next((moment for moment in crashes if called < moment < returned), None)
        if crash is not None:
            outcome, returned = Outcome.UNKNOWN, crash
            takes_effect = takes_effect if takes_effect < crash else math.inf
        elif random.random() < self.refused_chance:
            outcome, takes_effect = Outcome.NOT_PRIMARY, math.inf
        elif random.random() < self.unknown_chance:
            outcome, returned = Outcome.UNKNOWN, math.inf
            takes_effect = random.choice((takes_effect, takes_effect + random.uniform(0, LATE_MAX), math.inf))
        return takes_effect, ClientOperation(
            ticket=ticket,
            client=f"client {client}",
            kind=kind,
            block=random.randrange(self.blocks),
            value=random.randrange(self.values) if self.values else ticket,
            called=called,
            returned=returned,
            outcome=outcome,
        )
