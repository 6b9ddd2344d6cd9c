"""Who registers memory and moves data: what is allowed, and what is not, and now and then takes it back."""

from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import BusyError, DisconnectError
from ctlha_trio.dma import TRANSFERS_IN_FLIGHT_MAX, Dma, Rights
from ctlha_trio.link import Link
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._link.atlas import Situation
from ctlha_trio.testing._link.memories import GUARD_BYTES, Memory, data_of
from ctlha_trio.testing._link.message_pushes import MessagePushed
from ctlha_trio.testing._link.messages import TOKEN_BYTES, ChannelEnd
from ctlha_trio.testing._link.scene import LinkScene
from ctlha_trio.testing._link.transfers import LATE_S, Moved, local_for
from ctlha_trio.testing._pairs.pair_faults import other
from ctlha_trio.wire import Denial

KEYS: Final = 6
"""Of one owner that live at the same time."""
BOTH: Final = Rights.READ | Rights.WRITE
UNTRUE: Final = 0.15
"""Share of transfers that may not be done."""


@attrs.define(eq=False)
class Mover:
    """Of one process."""

    _scene: LinkScene
    name: str
    _link: Link
    _dma: Dma
    _channels: list[ChannelEnd]
    _random: Random
    _nursery: trio.Nursery

    async def run(self) -> None:
        """Do something now and then until all is calm, or cancelled."""
        while not self._scene.is_calm:
            await let_pass(self._random.expovariate(1 / self._scene.swarm.move_s))
            if self._link.session is not None and not self._scene.is_calm:
                self._do_something()

    def _do_something(self) -> None:
        random = self._random
        if len(self._scene.memories.live(self.name)) < KEYS:
            self.register(random.choice(self._scene.swarm.sizes), for_messages=happens(random, 0.3))
        deed = random.choices(
            (self._move, self._push_message, self._cancel, self._close, self._flood), weights=(60, 20, 12, 6, 0.7)
        )[0]
        deed()

    # Memory

    def register(self, size: int, *, for_messages: bool) -> Memory:
        """A new key, for so long and so many as chance has it; one for messages lives as long as it can."""
        random = self._random
        is_bound = not for_messages and happens(random)
        uses = random.choice([None, 1, 2, 3]) if is_bound else None
        expires_s = self._dma.now() + random.uniform(0.01, 2.0) if is_bound and happens(random) else None
        rights = Rights.WRITE if for_messages else random.choice([BOTH, BOTH, Rights.READ, Rights.WRITE])
        return self.register_for(size, rights, uses, expires_s, for_messages=for_messages)

    def register_for(
        self, size: int, rights: Rights, uses: int | None, expires_s: float | None, *, for_messages: bool = False
    ) -> Memory:
        """A new key."""
        memory = Memory(
            number=len(self._scene.memories.all) + 1,
            owner=self.name,
            session=self._link.session_id,
            epoch=self._link.epoch,
            size=size,
            rights=rights,
            uses=uses,
            expires_s=expires_s,
            for_messages=for_messages,
        )
        memory.region = self._dma.register(
            memory.view, epoch=memory.epoch, rights=rights, uses=uses, expires_s=expires_s
        )
        memory.remote = memory.region.remote
        self._scene.memories.add(memory)
        if expires_s is not None:
            self._nursery.start_soon(self._outlive, memory, expires_s)
        return memory

    async def _outlive(self, memory: Memory, expires_s: float) -> None:
        await self._scene.clocks[self.name].sleep_until(expires_s)
        await let_pass(LATE_S)
        self._scene.memories.bury(memory, Denial.OVERDUE_KEY)

    def _close(self) -> None:
        mine = [memory for memory in self._scene.memories.live(self.name) if not memory.for_messages]
        if mine:
            busy = [memory for memory in mine if memory.under_way and (memory.writings or memory.readings)]
            self._scene.journal.reach(Situation.CLOSED_IN_FLIGHT, if_so=bool(busy))
            memory = self._random.choice(busy or mine)
            memory.region.close()
            self._scene.memories.bury(memory, Denial.UNKNOWN_KEY)

    # Transfers

    def _move(self) -> None:
        memories = [memory for memory in self._scene.memories.all[-30:] if memory.owner == other(self.name)]
        if not memories:
            return
        may_be_wrong = happens(self._random, UNTRUE)
        live = [memory for memory in memories if self._is_usable(memory) and not memory.for_messages]
        memory = self._random.choice(memories if may_be_wrong or not live else live)
        is_push = happens(self._random)
        if not may_be_wrong and (Rights.WRITE if is_push else Rights.READ) not in memory.rights:
            is_push = not is_push
        size = self._random.randint(1, memory.size) if happens(self._random) else min(memory.size, 700)
        offset = self._random.randint(0, memory.size - size)
        if may_be_wrong and happens(self._random, 0.4):
            offset = memory.size - size + self._random.choice([1, 1, 5, 4000])
        deadline_s = self._dma.now() + self._random.uniform(0.0001, 0.3) if happens(self._random, 0.3) else None
        self.move(memory, offset, size, is_push=is_push, deadline_s=deadline_s)

    def _is_usable(self, memory: Memory) -> bool:
        in_session = not memory.is_dead and memory.session == self._link.session_id
        return in_session and (memory.uses is None or memory.used + memory.under_way < memory.uses)

    def move(
        self, memory: Memory, offset: int, size: int, *, is_push: bool, deadline_s: float | None = None
    ) -> Moved | None:
        """Start a transfer; None if that part is in use, or nothing can be started."""
        needed = Rights.WRITE if is_push else Rights.READ
        may_be_done = not memory.is_dead and needed in memory.rights and memory.has_range(offset, size)
        start = GUARD_BYTES + offset
        if may_be_done and not memory.is_free(start, start + size):
            return None
        number = len(self._scene.transfers.all) + 1
        moved = Moved(
            number=number,
            name=self.name,
            link=self._link,
            dma=self._dma,
            session=self._link.session_id,
            is_push=is_push,
            memory=memory,
            offset=offset,
            local=local_for(number, size, is_push=is_push),
            deadline_s=deadline_s,
            may_be_done=may_be_done,
            epochs={self._link.epoch},
        )
        try:
            self._scene.transfers.start(moved)
        except BusyError:
            self._scene.journal.reach(Situation.TRANSFERS_FULL)
            if len(self._scene.transfers.of(self.name)) < TRANSFERS_IN_FLIGHT_MAX // 2:
                self._scene.journal.problem(f"L8: {self.name} can start no more transfers")
            return None
        except DisconnectError:
            return None
        return moved

    def _cancel(self) -> None:
        mine = self._scene.transfers.of(self.name)
        if mine:
            self._scene.transfers.cancel(self._random.choice(mine))

    def _flood(self) -> None:
        """As many as there may be, and one more, of a byte each."""
        live = [
            memory for memory in self._scene.memories.live(other(self.name)) if memory.size > TRANSFERS_IN_FLIGHT_MAX
        ]
        for memory in live[:1]:
            for offset in range(TRANSFERS_IN_FLIGHT_MAX + 1):
                self.move(memory, offset, 1, is_push=Rights.WRITE in memory.rights)

    # With messages

    def _push_message(self) -> None:
        theirs = [memory for memory in self._scene.memories.live(other(self.name)) if self._is_usable(memory)]
        meant = [memory for memory in theirs if memory.for_messages]
        is_wrong = happens(self._random, 0.04)
        memories = self._scene.memories.all[-30:] if is_wrong else meant
        memories = [memory for memory in memories if memory.owner == other(self.name)]
        if not memories:
            return
        memory, end = self._random.choice(memories), self._random.choice(self._channels)
        size = self._random.choice([0, 1, self._random.randint(0, memory.size), memory.size])
        self.push_message(memory, self._random.randint(0, memory.size - size), size, end)

    def push_message(self, memory: Memory, offset: int, size: int, end: ChannelEnd) -> bool:
        """Queue a push with a message; False if that part is in use, or there is no room."""
        may_be_done = not memory.is_dead and Rights.WRITE in memory.rights and memory.has_range(offset, size)
        start = GUARD_BYTES + offset
        if not end.session or (may_be_done and not memory.is_free(start, start + size)):
            return False
        content = self._scene.messages.content(end.plan.slot_size)
        token = int.from_bytes(content[:TOKEN_BYTES], "little")
        pushed = MessagePushed(
            token=token,
            name=self.name,
            session=end.session,
            memory=memory,
            offset=offset,
            data=data_of(token, size),
            may_be_done=may_be_done,
            epochs={self._link.epoch},
        )
        self._scene.pushes.queue(pushed)
        try:
            self._dma.push_message_nowait(memory.remote.at(offset), pushed.data, end.channel, content)
        except (BusyError, DisconnectError):
            self._scene.pushes.take_back(pushed)
            return False
        return True
