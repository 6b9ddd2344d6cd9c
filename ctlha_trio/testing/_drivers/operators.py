"""What people ask of a pair, each of whom must be told what became of it."""

from collections.abc import Mapping
from random import Random
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError, FailedError
from ctlha_trio.testing._drivers.atlas import Fault
from ctlha_trio.testing._drivers.scene import Scene, Strike

_SWITCHOVER_S: Final = 20.0
"""For an operator to give a switchover up: longer than a handover may take."""


@attrs.define(eq=False)
class Operators:
    """They ask at any time, whatever else goes wrong."""

    _scene: Scene

    @property
    def strikes(self) -> Mapping[Fault, Strike]:
        """What each of them does."""
        return {Fault.SWITCHOVER: self._switch_over}

    async def _switch_over(self, _: Random) -> None:
        name, timeline = self._scene.pair.record.primary, self._scene.timeline
        timeline.note(name, "is asked to hand over")
        try:
            with trio.move_on_after(_SWITCHOVER_S):
                await self._scene.pair.ask(name, lambda node: node.switchover())
                timeline.note(name, "has handed over")
        except (FailedError, DisconnectError) as error:
            timeline.note(name, f"has not handed over: {error}")
