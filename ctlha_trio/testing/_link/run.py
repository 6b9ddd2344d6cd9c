"""The course of a run: trouble, then health, in which everything must get on, and an end that leaves nothing behind.

L13 nobody is refused without a reason. L14 two healthy ends are in a session soon, and in the next at once when one of
them drops it. L15 in health every message and every transfer comes to its end, and a channel whose consumer stands
still holds up no other. L16 nothing is left.
"""

import gc
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import trio

from ctlha_trio.dma import TRANSFERS_IN_FLIGHT_MAX
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._link.end import LinkEnd
from ctlha_trio.testing._link.faults import LinkFaults
from ctlha_trio.testing._link.journal import EVERYWHERE
from ctlha_trio.testing._link.messages import ChannelEnd
from ctlha_trio.testing._link.movers import BOTH
from ctlha_trio.testing._link.scene import LinkScene
from ctlha_trio.testing._link.senders import Sender
from ctlha_trio.testing._pairs.pair_faults import NAMES, other
from ctlha_trio.wire import FRAGMENT_SIZE_MAX

LOOK_S: Final = 0.05
AFTERMATH_S: Final = 2.5
"""After the last fault: what it delayed arrives, and whoever has heard nothing for too long has noticed."""
TOGETHER_S: Final = 8.0
"""A silence, a hello that nobody answers, and the longest pause between two."""
FIRST_DIAL_S: Final = 0.11
"""After the end of a session, whatever the clocks make of it."""
HELLO_LATENCIES: Final = 6
"""Until one that was dropped has ended at the other end too, and for a hello exchange of which both know."""
DROPS: Final = 3
"""Of each end, when all is well: enough for both to dial at the same time in most runs."""
DONE_S: Final = 10.0
"""For whatever is under way when all is well, the largest transfers included."""
MOVED_BYTES: Final = FRAGMENT_SIZE_MAX + 1


@attrs.define(eq=False)
class LinkRun:
    """One run."""

    scene: LinkScene
    faults: LinkFaults

    async def run(self) -> None:
        """Everything, up to the first problem. A checkpoint."""
        scene = self.scene
        scene.journal.note(EVERYWHERE, f"faults: {scene.swarm.faults}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            for name in NAMES:
                await self.faults.start(name)
            with trio.move_on_after(scene.swarm.trouble_s):
                await self.faults.run()
            await self._get_well()
            await self._get_on()
            await self._find_again()
            await self._part()
            nursery.cancel_scope.cancel(reason="the run is over")
        self._check_nothing_left()

    async def _look(self) -> None:
        while True:
            self.scene.transfers.check_deadlines()
            await let_pass(LOOK_S)

    @property
    def _ends(self) -> list[LinkEnd]:
        return [self.faults.ends[name] for name in NAMES]

    @property
    def _lively(self) -> list[tuple[ChannelEnd, Sender]]:
        """Channels whose consumers go on, at both ends."""
        each = [pair for end in self._ends for pair in zip(end.channels, end.senders, strict=True)]
        return [pair for pair in each if not pair[0].plan.stays_stopped]

    async def _require(self, condition: Callable[[], bool], within_s: float, problem: str) -> None:
        with trio.move_on_after(within_s):
            while not condition():
                await let_pass(LOOK_S)
        if condition():
            return
        self.scene.journal.problem(problem)
        await trio.lowlevel.checkpoint()

    async def _get_well(self) -> None:
        self.scene.journal.note(EVERYWHERE, "everything is healed")
        self.scene.is_calm = True
        await self.faults.heal()
        await let_pass(AFTERMATH_S)
        await self._require(self._is_together, TOGETHER_S, "L14: there is no session, although all is well")

    @property
    def _session(self) -> int:
        """That both are in, 0 without one."""
        one, other_one = (end.link.session_id for end in self._ends)
        return one if one == other_one else 0

    def _is_together(self) -> bool:
        session = self._session
        return session != 0 and all(channel.session == session for channel, _ in self._lively)

    async def _get_on(self) -> None:
        """Whatever was under way ends; then each channel and each kind of transfer must be good for more."""
        scene = self.scene
        await self._require(lambda: not scene.transfers.waiting, DONE_S, "L15: transfers do not end")
        await self._require(self._is_quiet, DONE_S, "L15: messages do not arrive")
        for channel, sender in self._lively:
            await self._use_channel(channel, sender)
        await self._require(self._is_quiet, DONE_S, "L15: messages do not arrive")
        for end in self._ends:
            await self._use_memory(end)
        if len({end.link.session_id for end in self._ends}) != 1:
            scene.journal.problem("L14: the session does not last, although all is well")

    def _is_quiet(self) -> bool:
        return all(self._has_settled(channel) and not channel.occupied for channel, _ in self._lively)

    def _has_settled(self, channel: ChannelEnd) -> bool:
        way = self.scene.messages.way(channel.session, channel.plan.number, channel.name)
        if channel.plan.answered:
            # The last ones are told of with the next answer.
            return not way.plain and not way.pushed
        told = way.told_sent == way.by_event and all(sent.is_reported for sent in way.by_call)
        return told and way.delivered == way.accepted

    async def _use_channel(self, channel: ChannelEnd, sender: Sender) -> None:
        number = channel.plan.number
        await let_pass(LOOK_S)  # what was told of room is here then
        room = max(1, min(channel.slots, channel.plan.slots[other(channel.name)]) // 2)
        if not channel.plan.answered and sender.send_at_once(room) < room:
            self.scene.journal.problem(f"L15: {channel.name} has no room on {number}, although nothing is on the way")
        for _ in range(2 * max(channel.plan.slots.values()) + 1):
            if not await sender.send_waiting(DONE_S):
                self.scene.journal.problem(f"L15: {channel.name} gets no room on {number}, although all is well")

    async def _use_memory(self, end: LinkEnd) -> None:
        """A push and a pull of several fragments, and as many small ones as there may be."""
        owner = self.faults.ends[other(end.name)].mover
        memory = owner.register_for(MOVED_BYTES, BOTH, None, None)
        small = owner.register_for(TRANSFERS_IN_FLIGHT_MAX, BOTH, TRANSFERS_IN_FLIGHT_MAX, None)
        for is_push in (True, False):
            moved = end.mover.move(memory, 0, MOVED_BYTES, is_push=is_push)
            await self._require(lambda: not self.scene.transfers.waiting, DONE_S, "L15: transfers do not end")
            if moved is None or moved.transfer is None or moved.transfer.left_bytes:
                self.scene.journal.problem(f"L15: {end.name} moves nothing, although all is well")
        for offset in range(TRANSFERS_IN_FLIGHT_MAX):
            if end.mover.move(small, offset, 1, is_push=offset % 2 == 0) is None:
                self.scene.journal.problem(f"L15: {end.name} has no room for {offset + 1} transfers")
        await self._require(lambda: not self.scene.transfers.waiting, DONE_S, "L15: transfers do not end")
        if small.used != TRANSFERS_IN_FLIGHT_MAX:
            self.scene.journal.problem(f"L15: {end.name} has done {small.used} of {TRANSFERS_IN_FLIGHT_MAX} transfers")
        self.scene.memories.check(memory)

    async def _find_again(self) -> None:
        """A session that only one end has dropped is followed by the next at once, whatever there was before it."""
        within_s = FIRST_DIAL_S + HELLO_LATENCIES * self.scene.swarm.latency_s
        for end in DROPS * self._ends:
            ended = end.link.session_id
            self.scene.journal.note(end.name, "drops its session")
            end.link.drop("dropped")
            await self._require(
                partial(self._is_followed, ended),
                within_s,
                f"L14: there is no session {within_s:.3f} s after one was dropped, although all is well",
            )
        await self._require(self._is_together, TOGETHER_S, "L14: channels stay out of a session, although all is well")

    def _is_followed(self, ended: int) -> bool:
        return self._session not in {0, ended}

    async def _part(self) -> None:
        """One leaves with a goodbye, and both end."""
        first, second = self._ends
        await first.link.goodbye("the end")
        for end in (first, second):
            await self.faults.end(end.name, "ends")

    def _check_nothing_left(self) -> None:
        scene = self.scene
        if scene.journal.problem_found:
            return
        for memory in scene.memories.all:
            scene.memories.check(memory)
        scene.transfers.check_all_left_alone()
        for end in self.faults.past:
            for what in end.holds:
                scene.journal.problem(f"L16: {end.name} has left {what} behind")
        if scene.network._streams:
            scene.journal.problem(f"L16: {len(scene.network._streams)} connections are left")
        memories = [memory.block for memory in scene.memories.all] + [moved.local for moved in scene.transfers.all]
        if any(map(_is_exported, memories)):
            gc.collect()  # it takes longer than much of the run, and is seldom needed
            if any(map(_is_exported, memories)):
                scene.journal.problem("L16: memory is still referred to")


def _is_exported(memory: bytearray) -> bool:
    try:
        memory.append(0)
    except BufferError:
        return True
    del memory[-1]
    return False
