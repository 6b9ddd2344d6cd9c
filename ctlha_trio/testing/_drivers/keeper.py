"""Whoever gives nodes their power back and starts them again: an operator, or the machine's own watchdog."""

import traceback
from collections.abc import Callable
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import FailedError
from ctlha_trio.ha import Reason
from ctlha_trio.pair import Phase
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.pair import DriverPair
from ctlha_trio.testing._drivers.programs import is_meant
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import Timeline
from ctlha_trio.testing._pairs.pair_faults import NAMES

LOOK_S: Final = 0.5
"""Between two looks at which nodes need somebody."""
STARTS_S: Final = 10.0
"""For a node to start, before its operator switches it off: longer than machines stand still."""
_NEEDS_A_NEW_DISK: Final = frozenset({"store-failed"})
"""The one reason to stop that starting again puts right."""
OF_A_PROCESS: Final = frozenset({Reason.COMPONENT_ERROR.value, Reason.HANDLER_FAILED.value, Reason.DISK_FAILING.value})
"""Reasons that only another process does not give, once the program is mended or the disk was looked at."""


@attrs.define(eq=False)
class Keeper:
    """Each node that goes down comes back, after a while, unless it is held down."""

    pair: DriverPair
    timeline: Timeline
    problem: Callable[[str], None]
    _nursery: trio.Nursery
    _random: Random
    down_s: float = 0.0
    """The longest that a node stays down."""
    renews: bool = False
    """Whether a node is started anew for what only another process does not say."""
    excused: frozenset[str] = frozenset()
    """Reasons to stop that nodes were given, beside a failed disk."""
    held: frozenset[str] = frozenset()
    """Nodes that nobody starts."""
    _returning: frozenset[str] = attrs.field(default=frozenset(), init=False)
    _stopped: frozenset[str] = attrs.field(default=frozenset(), init=False)
    """Nodes that were asked to end when they last ran. Who ends for another reason has lost its power."""

    def power_failed(self, name: str) -> None:
        """A node has lost its power this instant. For ``MemoryPair.on_power_cut``."""
        self.timeline.counts["crashes"] += self.pair.is_up(name)
        self.timeline.note(name, "power fails")

    async def run(self) -> None:
        """Look after both until cancelled."""
        while True:
            for name in NAMES:
                self._look_after(name)
            await let_pass(LOOK_S)

    def _look_after(self, name: str) -> None:
        for failed, failure in self.pair.failures.items():
            if is_meant(failure):
                continue
            where = "".join(traceback.format_exception(failure))
            self.problem(f"node {failed} ended with {failure!r}\n{where}")
        if name not in self._returning:
            self._check_end(name)
        if self.renews and self._needs_another_process(name):
            self.stop(name)
        is_down = name not in self.pair.nodes or self.pair.disks[name].is_cut
        has_stopped = self.pair.is_stopped(name) and not self.pair.stand().must_halt
        if (is_down or has_stopped) and name not in self.held | self._returning:
            self._returning |= {name}
            self._nursery.start_soon(self._bring_back, name)

    def _needs_another_process(self, name: str) -> bool:
        node = self.pair.nodes.get(name)
        return node is not None and not OF_A_PROCESS.isdisjoint(node.status().reasons)

    def _check_end(self, name: str) -> None:
        """A node that is down has lost its power, was asked to end, or has a program that ended it."""
        failure = self.pair.last_failure(name)
        is_excused = name in self._stopped or (failure is not None and is_meant(failure))
        if not (name in self.pair.nodes or self.pair.disks[name].is_cut or is_excused):
            self.problem(f"node {name} ended, and nobody stopped it")

    async def _bring_back(self, name: str) -> None:
        await let_pass(self._random.uniform(0, self.down_s))
        try:
            await self._end_stopped(name)
            await self.pair.wait_until(lambda: not self.pair.is_up(name))
            if name not in self.held:
                await self._start(name)
        except trio.TooSlowError as error:
            self.problem(f"node {name} does not end: {error}")
        except Exception as error:
            self.problem(f"node {name} cannot start: {error!r}\n{traceback.format_exc()}")
        finally:
            self._returning -= {name}

    async def _end_stopped(self, name: str) -> None:
        """A node that has stopped itself is ended by its operator, gently or not."""
        if not self.pair.is_stopped(name):
            return
        why = self.pair.nodes[name].pair.why
        machine = self.pair.machines[name]
        lost_its_disk = why in _NEEDS_A_NEW_DISK and (machine.struck or machine.disk.damage.met_again)
        if not (lost_its_disk or why in self.excused):
            self.problem(f"node {name} stopped: {why}")
        if happens(self._random):
            self.timeline.note(name, f"is taken out of service: {why}")
            self._ask_to_end(name, why)
        else:
            self.timeline.note(name, f"is switched off: {why}")
            self.pair.crash(name)

    async def _start(self, name: str) -> None:
        self._check_end(name)
        self._stopped -= {name}
        disk = self.pair.disks[name]
        if disk.is_cut:
            loss = self._random.choice(disk.outcomes())
            disk = await self.pair.restore_power(name, loss)
            self.timeline.note(name, f"starts; of what was not flushed: {loss.name}")
        else:
            disk.free()
            self.timeline.note(name, "starts")
        limit = trio.CancelScope(deadline=trio.current_time() + STARTS_S)
        try:
            with limit:
                await self.pair.start(name)
        except FailedError:
            if not disk.is_cut:
                raise
        if limit.cancelled_caught:
            # It stands still, or its disk hangs.
            self.timeline.note(name, "does not start and is switched off")
            self.pair.crash(name)

    def stop(self, name: str) -> bool:
        """Let a node say goodbye and end; it is started like one that has crashed. False if none runs."""
        if name not in self.pair.nodes or self.pair.nodes[name].pair.phase is Phase.LEFT:
            return False
        self.timeline.counts["stops"] += 1
        self.timeline.note(name, "is stopped")
        self._ask_to_end(name, "stopped by its operator")
        return True

    def _ask_to_end(self, name: str, why: str) -> None:
        self._stopped |= {name}
        self.pair.nodes[name].stop(why)
