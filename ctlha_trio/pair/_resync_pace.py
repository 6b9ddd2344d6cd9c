"""How fast a resync goes: at full width while nobody else needs the disks, in small steps with rests while clients do.

Copying never stands still, however much clients do: until it is over there is one copy of what they write.
"""

from typing import Final

import attrs

from ctlha_trio.pair._state import COPIES_AT_ONCE, COPY_BYTES_AT_ONCE, COPY_CHUNK_BYTES, Resync
from ctlha_trio.pair._step import Step
from ctlha_trio.pair.events import Timer

RESYNC_REST_S: Final = 0.02
"""Between two steps while clients are served: the disks and the line are theirs alone for that long."""
COPIES_BESIDE_CLIENTS: Final = COPIES_AT_ONCE // 4
"""Ranges of such a step, of one chunk together: a client's operation that comes meanwhile waits behind no more."""


def client_came(step: Step) -> None:
    """A client wants an operation; the first ranges of a resync are on their way before anybody can stand behind."""
    resync = step.state.resync
    if resync is not None and 0 < resync.cursor < step.state.size_bytes and not resync.client_came:
        step.change(resync=attrs.evolve(resync, client_came=True, beside_clients=True))


def room(resync: Resync) -> tuple[int, int]:
    """How many ranges, and bytes of them, may be under way."""
    if resync.beside_clients:
        return COPIES_BESIDE_CLIENTS, COPY_CHUNK_BYTES
    return COPIES_AT_ONCE, COPY_BYTES_AT_ONCE


def may_search(resync: Resync, copies: list[int]) -> bool:
    """Whether to look for the next ranges while those are under way: not for each place that is free."""
    return not resync.beside_clients and 2 * len(copies) <= COPIES_AT_ONCE and 2 * sum(copies) <= COPY_BYTES_AT_ONCE


def rest(step: Step, resync: Resync, copies: list[int]) -> None:
    """A step has ended: the next one begins when clients have had their time."""
    if resync.beside_clients and not copies and not resync.resting:
        step.change(resync=attrs.evolve(resync, resting=True, client_came=False))
        step.set_timer(Timer.RESYNC_REST, RESYNC_REST_S)


def rested(step: Step) -> Resync | None:
    """A rest is over: the resync that rested, at full width again if no client came; None if there is none."""
    resync = step.state.resync
    if resync is None or not resync.resting:
        return None
    busy = resync.client_came or any(f.ticket for f in step.state.flights)
    resync = attrs.evolve(resync, resting=False, beside_clients=busy)
    step.change(resync=resync)
    return resync
