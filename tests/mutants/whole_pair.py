"""A pair of whole nodes that serves and that nothing befalls, for what is planted in it."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import attrs
import pytest
import trio

from ctlha_trio.ha import Node
from ctlha_trio.pair import Metadata, Operation, OperationKind, Outcome, PairState, Phase, actions as act
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.programs import Programs
from ctlha_trio.testing._drivers.run import DriverRun
from ctlha_trio.testing._drivers.swarm import draw_swarm
from ctlha_trio.testing._drivers.timeline import Timeline
from ctlha_trio.testing._history.block_content import fill_sector
from ctlha_trio.testing._pairs.action_watch import Ordered, watch_actions, watch_steps
from ctlha_trio.testing._pairs.memory_pair import no_components
from ctlha_trio.testing._pairs.pair_faults import NAMES, other
from ctlha_trio.testing._power.medium import SECTOR_BYTES

Patch = pytest.MonkeyPatch
Plant = Callable[[DriverRun, Patch], Awaitable[None]]

WRITE: Final = OperationKind.WRITE
SECTOR: Final = 8
"""That clients have written."""
RECORD: Final = -1


async def serve(plant: Plant, patch: Patch) -> DriverRun:
    """Both nodes serve, clients have written a sector and a record, and no fault is to come."""
    drawn = attrs.evolve(draw_swarm(1, NAMES), size_bytes=64 * 1024, sectors=(SECTOR,), intervals_s={})
    swarm = attrs.evolve(drawn, programs_fail=False)
    async with trio.open_nursery() as nursery:
        pair = DriverPair(swarm.size_bytes, Random(1), no_components, nursery, swarm=swarm)
        run = DriverRun(1, pair, Programs(Random(1)), Timeline(trio.current_time), nursery)
        with watch_actions(run.ordered), watch_steps(run.stepped):
            run.nemesis.heal(*NAMES)
            for name in NAMES:
                await pair.start(name)
            await pair.wait_until(pair.is_settled)
            for kind, place in ((WRITE, SECTOR), (WRITE, SECTOR), (OperationKind.PUT_RECORD, RECORD)):
                assert await run.clients.operate(pair.record.primary, 1, (kind, place, 1)) is Outcome.DONE
            run.checks.check_members()
            run.checks.check_copies_equal()
            run.checks.check_history()
            assert not run.problems
            await plant(run, patch)
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel(reason="nothing was found")
    return run


def primary(run: DriverRun) -> Node:
    return run.pair.nodes[run.pair.record.primary]


def secondary(run: DriverRun) -> Node:
    return run.pair.nodes[other(run.pair.record.primary)]


def in_next_epoch(state: PairState, phase: Phase) -> PairState:
    assert state.record is not None
    alone = state.record.succeed(primary=state.me, members=(state.me,), proposal="planted")
    return attrs.evolve(state, phase=phase, record=alone)


def tell(run: DriverRun, state: PairState, kind: OperationKind, data: bytes | None = None) -> None:
    """A node in that state answers a client that all is done, though nobody has done anything."""
    number = run.history.call("a client", kind, SECTOR, kind is not OperationKind.FLUSH)
    asked = operation(kind, number)
    if data is None:
        data = run.pair.durable_range(state.me, asked.offset, asked.size)
    run.checks.ordered(Ordered(state, act.Answer(number, Outcome.DONE), asked, data))


def operation(kind: OperationKind, number: int) -> Operation:
    return Operation(kind, 1, number, SECTOR * SECTOR_BYTES, SECTOR_BYTES)


async def change_a_copy(run: DriverRun, sector: int) -> None:
    await secondary(run)._driver._store.write(sector * SECTOR_BYTES, fill_sector(0xFFFF))


async def lose_a_record(run: DriverRun) -> None:
    await secondary(run)._driver._store.replace_records({})


async def persist_on_primary(run: DriverRun, change: Callable[[Metadata], Metadata]) -> None:
    store = primary(run)._driver._store
    await store.persist(change(store.metadata))
