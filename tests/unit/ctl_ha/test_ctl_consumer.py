"""A consumer written the way FreeBSD 9's CTL used the header, on two nodes over TLS, with the link cut at every step.

Node a owns the host's port; node b executes commands and names the memory that their data goes to or comes from.
"""

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from enum import IntEnum, auto

import attrs
import pytest
import trio

from ctlha_trio import InvalidError, Node, RemoteBuffer, ctl_ha
from ctlha_trio.ctl_ha import (
    CTL_HA_CHAN_CTL,
    CTL_HA_COMP_STATUS_ERROR,
    CTL_HA_COMP_STATUS_OK,
    CTL_HA_DT_CMD_READ,
    CTL_HA_DT_CMD_WRITE,
    CTL_HA_EVT_DMA_RECEIVED,
    CTL_HA_EVT_DMA_SENT,
    CTL_HA_STATE_IS_SINGLE,
    CTL_HA_STATE_SINGLE,
    CTL_HA_STATUS_BUSY,
    CTL_HA_STATUS_DISCONNECT,
    CTL_HA_STATUS_SUCCESS,
    CTL_HA_STATUS_WAIT,
    ctl_dt_req_alloc,
    ctl_dt_req_free,
    ctl_dt_single,
    ctl_ha_channel,
    ctl_ha_comp_status,
    ctl_ha_component,
    ctl_ha_dt_cmd,
    ctl_ha_dt_req,
    ctl_ha_event,
    ctl_ha_msg_create,
    ctl_ha_msg_recv,
    ctl_ha_msg_send,
    ctl_ha_state,
    ctl_ha_status,
)
from ctlha_trio.dma import Region, Rights
from ctlha_trio.testing import MemoryPair

OpenPair = Callable[..., AbstractAsyncContextManager[MemoryPair]]

UNION_BYTES = 512
"""All messages have the size of the largest, whatever their type."""
LOCAL_ENTRY_BYTES, REMOTE_ENTRY_BYTES, TOTAL_BYTES = 3000, 4096, 60_000
PIECES = len({*range(0, TOTAL_BYTES, LOCAL_ENTRY_BYTES), *range(0, TOTAL_BYTES, REMOTE_ENTRY_BYTES)})


class Kind(IntEnum):
    SYNC_FE = auto()
    SERIALIZE = auto()
    DATAMOVE = auto()
    DATAMOVE_DONE = auto()
    FINISH_IO = auto()


@attrs.frozen
class Message:
    kind: Kind
    io: int = 0
    command: ctl_ha_dt_cmd = CTL_HA_DT_CMD_READ
    status: ctl_ha_status = CTL_HA_STATUS_SUCCESS
    key: bytes = bytes(16)

    _FORMAT = struct.Struct("<BIBB16s")

    def pack(self) -> bytes:
        return self._FORMAT.pack(self.kind, self.io, self.command, self.status, self.key).ljust(UNION_BYTES, b"\0")

    @classmethod
    def unpack(cls, union: bytearray) -> "Message":
        kind, io, command, status, key = cls._FORMAT.unpack_from(union)
        return cls(Kind(kind), io, ctl_ha_dt_cmd(command), ctl_ha_status(status), key)


@attrs.define(eq=False)
class Io:
    """A command of the host, at the node with its port."""

    number: int
    command: ctl_ha_dt_cmd
    local: bytearray
    outcomes: list[ctl_ha_status] = attrs.field(factory=list)


@attrs.define(eq=False)
class Saboteur:
    """Cuts once, at the step named."""

    pair: MemoryPair
    at: str = ""
    loss: str = "broken"
    steps: list[str] = attrs.field(factory=list)

    async def step(self, node: Node, what: str) -> None:
        name = f"{node.config.node} {what}"
        self.steps.append(name)
        if name != self.at:
            return
        self.at = ""
        session = node._link.session
        if self.loss == "crash":
            self.pair.crash("b")
        else:
            self.pair.break_link()
        while node._link.session == session:
            await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Ctl:
    """One node's CTL."""

    node: Node
    saboteur: Callable[[], Saboteur]
    opened: bool = False
    paused: bool = False
    """Quiesced: nothing that is ready to run is run."""
    single: bool = True
    seen_sync: bool = False
    ios: dict[int, Io] = attrs.field(factory=dict)
    moving: dict[int, tuple[bytearray, Region]] = attrs.field(factory=dict)
    """Of commands that are executed here: their memory."""
    stored: bytearray = attrs.field(factory=lambda: bytearray(range(250)) * (TOTAL_BYTES // 250))
    accepted: int = 0
    sent: list[int] = attrs.field(factory=list)
    """Params of MSG_SENT."""
    losses: int = 0
    unfreed: list[ctl_ha_dt_req[Io]] = attrs.field(factory=list)
    dma_events: list[tuple[ctl_ha_event, int]] = attrs.field(factory=list)
    starts: list[ctl_ha_state] = attrs.field(factory=list)

    # The component.

    def component(self) -> ctl_ha_component:
        return ctl_ha_component("ctlisc", init=self.init, start=self.start, quiesce=self.quiesce)

    async def init(self, component: ctl_ha_component) -> ctl_ha_comp_status:
        return CTL_HA_COMP_STATUS_OK

    async def start(self, component: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
        assert self.paused is bool(self.starts), "the supervisor quiesces before each start but the first"
        self.starts.append(state)
        if not self.opened:
            if ctl_ha_msg_create(CTL_HA_CHAN_CTL, self.isc_event_handler) is not CTL_HA_STATUS_SUCCESS:
                return CTL_HA_COMP_STATUS_ERROR
            self.opened = True
        if CTL_HA_STATE_IS_SINGLE(state):
            self.failover()
        self.single = CTL_HA_STATE_IS_SINGLE(state)
        self.paused = False
        return CTL_HA_COMP_STATUS_OK

    async def quiesce(self, component: ctl_ha_component) -> ctl_ha_comp_status:
        self.paused = True
        return CTL_HA_COMP_STATUS_OK

    def failover(self) -> None:
        """Commands that the other node was to execute are busy: the host repeats them."""
        for io in list(self.ios.values()):
            self.finish(io, CTL_HA_STATUS_BUSY)
        for _, region in self.moving.values():
            region.close()
        self.moving.clear()

    # The event handler, with a switch over the messages.

    async def isc_event_handler(self, channel: ctl_ha_channel, event: ctl_ha_event, param: int) -> None:
        match event:
            case ctl_ha.CTL_HA_EVT_MSG_RECV:
                union = bytearray(UNION_BYTES)
                if await ctl_ha_msg_recv(channel, union, UNION_BYTES, 0) is CTL_HA_STATUS_SUCCESS:
                    await self.dispatch(Message.unpack(union))
            case ctl_ha.CTL_HA_EVT_MSG_SENT:
                self.sent.append(param)
            case ctl_ha.CTL_HA_EVT_DISCONNECT:
                self.losses += 1
                self.seen_sync = False
                for request in self.unfreed:
                    ctl_dt_req_free(request)  # whatever was in flight has ended before this event
                self.unfreed.clear()
                self.failover()
            case ctl_ha.CTL_HA_EVT_DMA_SENT | ctl_ha.CTL_HA_EVT_DMA_RECEIVED:
                self.dma_events.append((event, param))
            case _:
                pytest.fail(f"unknown event {event!r}")

    async def dispatch(self, message: Message) -> None:
        await self.saboteur().step(self.node, f"got {message.kind.name}")
        match message.kind:
            case Kind.SYNC_FE:
                self.seen_sync = True
            case Kind.SERIALIZE:
                await self.execute(message)
            case Kind.DATAMOVE:
                if message.io in self.ios:
                    await self.datamove(self.ios[message.io], RemoteBuffer(message.key))
            case Kind.DATAMOVE_DONE:
                if message.io in self.moving:
                    memory, region = self.moving.pop(message.io)
                    region.close()
                    if message.status is CTL_HA_STATUS_SUCCESS and message.command is CTL_HA_DT_CMD_WRITE:
                        self.stored[:] = memory
                    await self.send(Message(Kind.FINISH_IO, message.io, status=message.status))
            case Kind.FINISH_IO:
                if message.io in self.ios:
                    self.finish(self.ios[message.io], message.status)

    async def send(self, message: Message) -> bool:
        while (status := await ctl_ha_msg_send(CTL_HA_CHAN_CTL, message.pack(), UNION_BYTES, 0)) is CTL_HA_STATUS_BUSY:
            pass
        accepted = not status > CTL_HA_STATUS_SUCCESS
        self.accepted += accepted
        await self.saboteur().step(self.node, f"sent {message.kind.name}")
        return accepted

    # The barrier of port enable.

    async def port_enable(self) -> bool:
        with self.node.current():
            await self.saboteur().step(self.node, "enables")
            status = await ctl_ha_msg_send(CTL_HA_CHAN_CTL, Message(Kind.SYNC_FE).pack(), UNION_BYTES, 1)
            if status > CTL_HA_STATUS_SUCCESS:
                assert status is CTL_HA_STATUS_DISCONNECT
                return False
            await self.saboteur().step(self.node, "sent SYNC_FE")
            if not self.seen_sync:
                union = bytearray(UNION_BYTES)
                status = await ctl_ha_msg_recv(CTL_HA_CHAN_CTL, union, UNION_BYTES, 1)
                if status > CTL_HA_STATUS_SUCCESS:
                    assert status is CTL_HA_STATUS_DISCONNECT
                    return False
                await self.dispatch(Message.unpack(union))
            return True

    # A command of the host.

    async def host_io(self, number: int, command: ctl_ha_dt_cmd, local: bytearray) -> Io:
        io = self.ios[number] = Io(number, command, local)
        with self.node.current():
            if not await self.send(Message(Kind.SERIALIZE, number, command)) and number in self.ios:
                self.finish(io, CTL_HA_STATUS_BUSY)
        return io

    def finish(self, io: Io, status: ctl_ha_status) -> None:
        del self.ios[io.number]
        io.outcomes.append(status)

    async def execute(self, message: Message) -> None:
        memory = bytearray(self.stored)
        try:
            rights = Rights.READ if message.command is CTL_HA_DT_CMD_READ else Rights.WRITE
            region = self.node.register_region(memory, rights)
        except trio.BrokenResourceError:
            return
        self.moving[message.io] = memory, region
        await self.send(Message(Kind.DATAMOVE, message.io, message.command, key=region.key))

    async def datamove(self, io: Io, remote: RemoteBuffer) -> None:
        """One request for the whole scatter/gather list, a piece for each overlap of local and remote entries."""
        request: ctl_ha_dt_req[Io] = ctl_dt_req_alloc()
        request.command = io.command
        request.context = io
        request.callback = None
        done = pieces = 0
        while done < TOTAL_BYTES:
            request.size = min(
                LOCAL_ENTRY_BYTES - done % LOCAL_ENTRY_BYTES,
                REMOTE_ENTRY_BYTES - done % REMOTE_ENTRY_BYTES,
                TOTAL_BYTES - done,
            )
            request.local = memoryview(io.local)[done : done + request.size]
            request.remote = remote.at(done)
            done += request.size
            pieces += 1
            request.callback = self.datamove_done if done == TOTAL_BYTES else None
            status = ctl_dt_single(request)
            if status is not CTL_HA_STATUS_WAIT:
                request.ret = status
                await self.datamove_done(request)
                return
            await self.saboteur().step(self.node, f"piece {pieces}")
        assert pieces == PIECES

    async def datamove_done(self, request: ctl_ha_dt_req[Io]) -> None:
        io, status = request.context, request.ret
        assert io is not None
        try:
            ctl_dt_req_free(request)
        except InvalidError:
            self.unfreed.append(request)
        await self.saboteur().step(self.node, "callback")
        await self.send(Message(Kind.DATAMOVE_DONE, io.number, io.command, status))


@attrs.define(eq=False)
class World:
    pair: MemoryPair
    saboteur: Saboteur
    made: dict[str, Ctl]

    @property
    def a(self) -> Ctl:
        return self.made["a"]

    @property
    def b(self) -> Ctl:
        return self.made["b"]

    async def ready(self) -> None:
        """Both run in HA, and their channels are in one session."""
        await self.pair.wait_protected()
        await self.pair.wait_until(
            lambda: all(
                ctl.opened and not ctl.single and ctl.node.channel(CTL_HA_CHAN_CTL)._channel.has_session
                for ctl in self.made.values()
            )
        )

    async def enable(self) -> dict[str, bool]:
        enabled: dict[str, bool] = {}

        async def enable(name: str) -> None:
            enabled[name] = await self.made[name].port_enable()

        async with trio.open_nursery() as nursery:
            for name in self.made:
                nursery.start_soon(enable, name)
        return enabled

    async def io(self, number: int, command: ctl_ha_dt_cmd) -> Io:
        """One command from its start to its end."""
        local = bytearray(number.to_bytes(1, "little") * TOTAL_BYTES)
        before = bytes(self.b.stored)
        io = await self.a.host_io(number, command, local)
        await self.pair.wait_until(lambda: bool(io.outcomes))
        if io.outcomes == [CTL_HA_STATUS_SUCCESS]:
            assert (local == before) if command is CTL_HA_DT_CMD_READ else (self.b.stored == local)
        return io


@asynccontextmanager
async def world(open_tls: OpenPair) -> AsyncIterator[World]:
    made: dict[str, Ctl] = {}
    saboteurs: list[Saboteur] = []

    def components(node: Node) -> list[ctl_ha_component]:
        made[node.config.node] = Ctl(node, lambda: saboteurs[0])
        return [made[node.config.node].component()]

    async with open_tls(components=components) as pair:
        saboteurs.append(Saboteur(pair))
        it = World(pair, saboteurs[0], made)
        await it.ready()
        yield it


def check_books(ctl: Ctl) -> None:
    """Nothing is owed and nothing was told twice."""
    assert len(ctl.sent) == ctl.accepted
    assert set(ctl.sent) <= {CTL_HA_STATUS_SUCCESS, CTL_HA_STATUS_DISCONNECT}
    assert ctl.unfreed == []
    assert not ctl.ios
    assert not ctl.moving
    assert not ctl.node.transfers._books


STEPS = {
    "barrier": ["a enables", "a sent SYNC_FE", "a got SYNC_FE", "b enables", "b sent SYNC_FE", "b got SYNC_FE"],
    "io": [
        "a sent SERIALIZE",
        "b got SERIALIZE",
        "b sent DATAMOVE",
        "a got DATAMOVE",
        "a piece 1",
        f"a piece {PIECES // 2}",
        f"a piece {PIECES}",
        "a callback",
        "a sent DATAMOVE_DONE",
        "b got DATAMOVE_DONE",
        "b sent FINISH_IO",
        "a got FINISH_IO",
    ],
}


async def test_a_command_goes_through_every_step(open_tls: OpenPair) -> None:
    assert PIECES > 16
    async with world(open_tls) as it:
        assert await it.enable() == {"a": True, "b": True}
        assert set(STEPS["barrier"]) <= set(it.saboteur.steps)
        it.saboteur.steps.clear()
        assert (await it.io(1, CTL_HA_DT_CMD_WRITE)).outcomes == [CTL_HA_STATUS_SUCCESS]
        assert [step for step in it.saboteur.steps if step in STEPS["io"]] == STEPS["io"]
        assert (await it.io(2, CTL_HA_DT_CMD_READ)).outcomes == [CTL_HA_STATUS_SUCCESS]
        await it.pair.wait_until(lambda: len(it.a.dma_events) == 2)
        assert it.a.dma_events == [
            (CTL_HA_EVT_DMA_SENT, CTL_HA_STATUS_SUCCESS),
            (CTL_HA_EVT_DMA_RECEIVED, CTL_HA_STATUS_SUCCESS),
        ]
        await it.pair.wait_until(lambda: all(len(ctl.sent) == ctl.accepted for ctl in it.made.values()))
        for ctl in it.made.values():
            check_books(ctl)
            assert set(ctl.sent) == {CTL_HA_STATUS_SUCCESS}
            assert ctl.losses == 0


async def settle(it: World, loss: str, losses: int) -> None:
    """After a cut: every book is closed, one loss is counted, and the pair comes back and works."""
    await it.pair.wait_until(lambda: it.a.losses == losses)
    if loss == "crash":
        await it.pair.wait_until(lambda: it.a.single)
        check_books(it.a)
        assert it.a.starts[-1] is CTL_HA_STATE_SINGLE
        await it.pair.restart("b")
    else:
        await it.pair.wait_until(lambda: it.b.losses == losses)
        for ctl in it.made.values():
            check_books(ctl)
    await it.ready()
    assert await it.enable() == {"a": True, "b": True}
    for number, command in ((8, CTL_HA_DT_CMD_WRITE), (9, CTL_HA_DT_CMD_READ)):
        assert (await it.io(number, command)).outcomes == [CTL_HA_STATUS_SUCCESS]
    assert it.a.losses == losses
    assert it.saboteur.at == "", "the step was reached"


@pytest.mark.parametrize("loss", ["broken", "crash"])
@pytest.mark.parametrize("step", STEPS["barrier"])
async def test_the_link_is_cut_at_each_step_of_the_barrier(open_tls: OpenPair, step: str, loss: str) -> None:
    async with world(open_tls) as it:
        it.saboteur.at, it.saboteur.loss = step, loss
        with trio.move_on_after(5) as scope:
            async with trio.open_nursery() as nursery:
                for name in ("a", "b"):

                    async def enable(name: str = name) -> None:
                        with suppress(RuntimeError) if loss == "crash" and name == "b" else nullcontext():
                            await it.made[name].port_enable()
                        if name == "a":
                            await it.pair.wait_until(lambda: it.a.losses == 1)

                    nursery.start_soon(enable)
        assert not scope.cancelled_caught, "a barrier hangs"
        await settle(it, loss, 1)


@pytest.mark.parametrize("loss", ["broken", "crash"])
@pytest.mark.parametrize("command", [CTL_HA_DT_CMD_WRITE, CTL_HA_DT_CMD_READ])
@pytest.mark.parametrize("step", STEPS["io"])
async def test_the_link_is_cut_at_each_step_of_a_command(
    open_tls: OpenPair, step: str, command: ctl_ha_dt_cmd, loss: str
) -> None:
    async with world(open_tls) as it:
        assert await it.enable() == {"a": True, "b": True}
        it.saboteur.at, it.saboteur.loss = step, loss
        io = await it.io(1, command)
        await it.pair.wait_until(lambda: it.a.losses == 1)
        assert io.outcomes in ([CTL_HA_STATUS_SUCCESS], [CTL_HA_STATUS_BUSY], [CTL_HA_STATUS_DISCONNECT])
        assert (io.outcomes == [CTL_HA_STATUS_SUCCESS]) is (step == "a got FINISH_IO") or step == "b sent FINISH_IO"
        await settle(it, loss, 1)
