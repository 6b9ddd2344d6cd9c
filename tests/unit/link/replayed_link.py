"""The other side of a script, which says what is recorded, whatever it hears."""

from contextlib import suppress

import attrs
import trio
import trio.testing

from ctlha_trio._errors import CtlHaError
from ctlha_trio.link import SessionInfo
from ctlha_trio.seams import MemoryNetwork, Stream
from tests.unit.link.recorded_link import Record, Said, frames_of
from tests.unit.link.recorded_scripts import Party, Script, World, scripted


@attrs.define(eq=False)
class Other:
    """Dials, speaks and closes when it is told to."""

    node: str
    network: MemoryNetwork
    nursery: trio.Nursery
    heard: bytearray = attrs.field(factory=bytearray)
    _streams: list[Stream] = attrs.field(factory=list)

    async def listen(self) -> None:
        listener = await self.network.transport(self.node).listen(f"{self.node}-address")
        self.nursery.start_soon(listener.serve, self._hear)

    async def _hear(self, stream: Stream) -> None:
        self._streams.append(stream)
        buffer = memoryview(bytearray(4096))
        try:
            while size := await stream.receive_into(buffer):
                self.heard += buffer[:size]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # either side has closed, as recorded

    async def say(self, said: Said) -> None:
        match said.what:
            case "dials":
                self.nursery.start_soon(self._hear, await self.network.transport(self.node).dial("b-address"))
                await trio.testing.wait_all_tasks_blocked()
            case "closes":
                self._streams[-1].close()
            case _:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._streams[-1].send_all(said.data)


@attrs.define(eq=False)
class Replay:
    """What the node said, by steps, beside what it was to say."""

    node: str
    said: dict[str, list[Said]] = attrs.field(factory=dict)
    _world: World | None = attrs.field(default=None, init=False)
    sessions: list[SessionInfo] = attrs.field(factory=list)
    """After each step that had one."""

    @property
    def party(self) -> Party:
        """The node, as it is when all was said."""
        assert self._world is not None
        return self._world.parties[self.node]

    async def run(self, script: Script, record: Record) -> None:
        """The other side says what is recorded of it, of each step once nothing more comes without that."""
        other_node = "b" if self.node == "a" else "a"
        steps = {step.title: step for step in script.steps}
        async with trio.open_nursery() as nursery:
            other = Other(other_node, MemoryNetwork(), nursery)
            await other.listen()
            async with scripted(script, self.node, network=other.network) as self._world:
                for title, recorded in record.steps.items():
                    if title in steps:
                        with suppress(CtlHaError):  # what it does not say for that is missed
                            steps[title].take(self._world)
                    await self._take_turns(other, recorded)
                    self.said[title] = [Said(self.node, *frame) for frame in frames_of(bytes(other.heard))]
                    other.heard.clear()
                    if (session := self.party.link.session) is not None:
                        self.sessions.append(session)
            nursery.cancel_scope.cancel()

    async def _take_turns(self, other: Other, recorded: list[Said]) -> None:
        await trio.testing.wait_all_tasks_blocked()
        for before, each in zip([None, *recorded], recorded, strict=False):
            if each.node == other.node:
                if before is not None and before.node != other.node:
                    await trio.testing.wait_all_tasks_blocked()
                await other.say(each)
        await trio.testing.wait_all_tasks_blocked()
