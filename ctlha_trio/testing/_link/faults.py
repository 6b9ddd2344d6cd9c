"""Lets faults happen between two ends and to each of them, each kind as often as the swarm says."""

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._link.atlas import Situation
from ctlha_trio.testing._link.end import LinkEnd
from ctlha_trio.testing._link.journal import EVERYWHERE
from ctlha_trio.testing._link.scene import LinkScene
from ctlha_trio.testing._pairs.pair_faults import NAMES, other
from ctlha_trio.wire import Refusal

BOTH_WAYS: Final = (NAMES, NAMES[::-1])


@attrs.define(eq=False)
class LinkFaults:
    """Everything that it does is over, or undone by ``heal``."""

    scene: LinkScene
    _nursery: trio.Nursery
    ends: dict[str, LinkEnd] = attrs.field(factory=dict, init=False)
    """The processes that live, by node."""
    past: list[LinkEnd] = attrs.field(factory=list, init=False)
    """Those that are over."""
    _started: int = 0
    _blocked: list[tuple[str, str]] = attrs.field(factory=list, init=False)
    """Ways that are cut, once for each who has cut them."""

    async def run(self) -> None:
        """Strike until cancelled."""
        async with trio.open_nursery() as nursery:
            for fault, interval_s in self.scene.swarm.intervals_s.items():
                nursery.start_soon(self._repeat, fault, interval_s, self.scene.random(f"fault {fault.name}"))

    async def _repeat(self, fault: Situation, interval_s: float, random: Random) -> None:
        strike = self._strikes[fault]
        while True:
            await let_pass(random.expovariate(1 / interval_s))
            if any(end.link.session is not None for end in self.ends.values()):
                self.scene.journal.reach(fault)
                self.scene.journal.counts["faults"] += 1
                await strike(random)

    @property
    def _strikes(self) -> Mapping[Situation, Callable[[Random], Awaitable[None]]]:
        return {
            Situation.CUT: self._cut,
            Situation.ONE_WAY: self._cut_one_way,
            Situation.CLOG: self._clog,
            Situation.DELAY: self._delay,
            Situation.RESET: self._reset,
            Situation.CRASH: self._crash,
            Situation.KILL: self._kill,
            Situation.STOP: self._stop,
            Situation.REST: self._rest,
            Situation.DROP: self._drop,
            Situation.FLAP: self._flap,
            Situation.JUMP: self._jump,
            Situation.HANG: self._hang,
            Situation.EPOCH: self._enter_epoch,
        }

    async def heal(self) -> None:
        """End everything that is wrong; both nodes have a process that looks for the other. A checkpoint."""
        self._blocked.clear()
        self.scene.network.heal()
        self.scene.set_latency(self.scene.swarm.latency_s)
        for name in NAMES:
            if name in self.ends and self.ends[name].is_leaving:
                await self.end(name, "ends")
            if name not in self.ends:
                await self.start(name)
            self.ends[name].is_beating = True
            self.ends[name].link.go_on()
            self._announce(name, max(self.scene.epochs.values()))

    # Processes

    async def start(self, name: str) -> None:
        """A new process of a node. A checkpoint."""
        self._started += 1
        end = LinkEnd(self.scene, name, self._started)
        self.scene.journal.note(name, f"process {end.incarnation} starts")
        await self._nursery.start(end.live)
        self.ends[name] = end

    async def end(self, name: str, how: str) -> None:
        """The process of a node is over at once. A checkpoint."""
        end = self.ends.pop(name)
        self.past.append(end)
        self.scene.journal.note(name, f"process {end.incarnation} {how}")
        self.scene.journal.counts["crashes"] += 1
        with trio.CancelScope(shield=True):
            await end.kill()

    async def _restart(self, name: str, random: Random) -> None:
        await let_pass(random.choice([0.0, 0.3, 2.0]))
        if name not in self.ends:
            with trio.CancelScope(shield=True):
                await self.start(name)

    async def _crash(self, random: Random) -> None:
        name = random.choice(NAMES)
        if name in self.ends:
            self.scene.network.silence(name)
            await self.end(name, "crashes")
            await self._restart(name, random)

    async def _kill(self, random: Random) -> None:
        name = random.choice(NAMES)
        if name in self.ends:
            await self.end(name, "is killed")
            await self._restart(name, random)

    async def _stop(self, random: Random) -> None:
        name = random.choice(NAMES)
        end = self.ends.get(name)
        if end is not None:
            self.scene.journal.note(name, "says goodbye")
            end.is_leaving = True
            await end.link.goodbye("stopped")
            if self.ends.get(name) is end:
                await self.end(name, "ends")
                await self._restart(name, random)

    # What is done to a link

    async def _rest(self, random: Random) -> None:
        end = self._an_end(random)
        if end is not None:
            self.scene.journal.note(end.name, "rests")
            await end.link.rest(Refusal.DISK_HANGS)
            await let_pass(random.uniform(0.0, 1.5))
            self.scene.journal.note(end.name, "goes on")
            end.link.go_on()

    async def _drop(self, random: Random) -> None:
        end = self._an_end(random)
        if end is not None:
            self.scene.journal.note(end.name, "drops its session")
            end.link.drop("dropped")
        await trio.lowlevel.checkpoint()

    async def _flap(self, random: Random) -> None:
        for _ in range(random.randint(2, 6)):
            await self._drop(random)
            await let_pass(random.uniform(0.01, 0.4))

    async def _hang(self, random: Random) -> None:
        end = self._an_end(random)
        if end is not None:
            self.scene.journal.note(end.name, "withholds its heartbeats")
            end.is_beating = False
            await let_pass(random.uniform(0.3, 1.5))
            end.is_beating = True

    async def _jump(self, random: Random) -> None:
        name = random.choice(NAMES)
        seconds_s = random.choice([0.1, 0.7, 1.5, 5.0])
        self.scene.journal.note(name, f"stands still for {seconds_s:.1f} s")
        self.scene.clocks[name].jump(seconds_s)
        await trio.lowlevel.checkpoint()

    async def _enter_epoch(self, random: Random) -> None:
        epoch = max(self.scene.epochs.values()) + 1
        first = random.choice(NAMES)
        for name in (first, other(first)):
            self._announce(name, epoch)
            await let_pass(random.uniform(0.0, 0.3))

    def _announce(self, name: str, epoch: int) -> None:
        if self.scene.epochs[name] < epoch:
            self.scene.epochs[name] = epoch
            self.scene.journal.note(name, f"enters epoch {epoch}")
            self.scene.transfers.enter_epoch(name, epoch)
            self.scene.pushes.enter_epoch(name, epoch)
            if name in self.ends:
                self.ends[name].link.announce(epoch=epoch, revision=1)
            self.scene.memories.leave_epoch(name)

    def _an_end(self, random: Random) -> LinkEnd | None:
        return self.ends.get(random.choice(NAMES))

    # The network

    async def _cut(self, random: Random) -> None:
        await self._block([*BOTH_WAYS], random.uniform(0.2, 3.0))

    async def _cut_one_way(self, random: Random) -> None:
        await self._block([random.choice(BOTH_WAYS)], random.uniform(0.2, 3.0))

    async def _clog(self, random: Random) -> None:
        await self._block([random.choice(BOTH_WAYS)], random.uniform(0.02, 0.5))

    async def _block(self, ways: list[tuple[str, str]], seconds_s: float) -> None:
        path = " and ".join(f"from {source} to {target}" for source, target in ways)
        self.scene.journal.note(EVERYWHERE, f"nothing arrives {path} for {seconds_s:.3f} s")
        self._blocked += ways
        for way in ways:
            self.scene.network.cut(*way)
        await let_pass(seconds_s)
        for way in ways:
            self._blocked.remove(way)
            if way not in self._blocked:
                self.scene.network.heal(*way)

    async def _delay(self, random: Random) -> None:
        way, seconds_s = random.choice(BOTH_WAYS), random.choice([0.02, 0.2, 0.6, 1.2])
        self.scene.journal.note(EVERYWHERE, f"from {way[0]} to {way[1]} takes {seconds_s:.3f} s")
        self.scene.network.delay(*way, seconds_s)
        await let_pass(random.uniform(0.2, 2.0))
        self.scene.network.delay(*way, self.scene.swarm.latency_s)

    async def _reset(self, _: Random) -> None:
        self.scene.journal.note(EVERYWHERE, "the connection breaks")
        self.scene.network.reset(*NAMES)
        await trio.lowlevel.checkpoint()
