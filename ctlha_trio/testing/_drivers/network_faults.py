"""What goes wrong between two machines."""

from collections.abc import Mapping
from random import Random

import attrs
import trio

from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.chance import happens
from ctlha_trio.testing._drivers.scene import Scene, Strike
from ctlha_trio.testing._drivers.time import let_pass
from ctlha_trio.testing._drivers.timeline import EVERYWHERE
from ctlha_trio.testing._pairs.pair_faults import NAMES

BOTH_WAYS = (NAMES, NAMES[::-1])


@attrs.define(eq=False)
class NetworkFaults:
    """All that it does, ``heal`` undoes."""

    _scene: Scene

    @property
    def strikes(self) -> Mapping[Fault, Strike]:
        """What each fault does."""
        return {
            Fault.DELAY: self._delay,
            Fault.CLOG: self._clog,
            Fault.ONE_WAY: self._cut_one_way,
            Fault.PARTITION: self._part,
            Fault.RESET: self._reset,
            Fault.FLAP: self._flap,
        }

    def heal(self) -> None:
        """End everything that is wrong."""
        for way in BOTH_WAYS:
            self._scene.pair.network.delay(*way, 0.0)
        self._scene.pair.unblock_machines()

    async def _delay(self, random: Random) -> None:
        scene = self._scene
        scene.done[Fault.DELAY] += scene.is_in_touch
        ways = [_a_way(random)] if happens(random) else BOTH_WAYS
        for way in ways:
            seconds = random.choice([0.001, 0.02, 0.2, 1.0]) * random.uniform(0.5, 1.5)
            scene.timeline.note(EVERYWHERE, f"from {way[0]} to {way[1]} takes {seconds:.3f} s")
            scene.pair.network.delay(*way, seconds)
        await let_pass(random.uniform(0.5, 6))
        for way in ways:
            scene.pair.network.delay(*way, 0.0)

    async def _clog(self, random: Random) -> None:
        self._scene.done[Fault.CLOG] += self._scene.is_in_touch
        await self._scene.block([_a_way(random)], Fault.CLOG, "clogged", random.uniform(0.05, 0.8))

    async def _cut_one_way(self, random: Random) -> None:
        self._scene.done[Fault.ONE_WAY] += self._scene.is_in_touch
        await self._scene.block([_a_way(random)], Fault.ONE_WAY, "cut", random.uniform(0.5, 8))

    async def _part(self, random: Random) -> None:
        self._scene.done[Fault.PARTITION] += self._scene.is_in_touch
        await self._scene.block([*BOTH_WAYS], Fault.PARTITION, "parted", random.uniform(0.5, 10))

    async def _reset(self, _: Random) -> None:
        self._scene.done[Fault.RESET] += self._break_link()
        await trio.lowlevel.checkpoint()

    def _break_link(self) -> bool:
        if not self._scene.is_linked:
            return False
        self._scene.timeline.counts["cuts"] += 1
        self._scene.timeline.note(EVERYWHERE, "the connection breaks")
        self._scene.pair.break_link()
        return True

    async def _flap(self, random: Random) -> None:
        times = 0
        for _ in range(random.randint(2, 6)):
            times += self._break_link()
            self._scene.done[Fault.FLAP] += times == 2  # noqa: PLR2004 (from the second on it is one)
            await let_pass(random.uniform(0.02, 0.6))


def _a_way(random: Random) -> tuple[str, str]:
    return NAMES if happens(random) else NAMES[::-1]
