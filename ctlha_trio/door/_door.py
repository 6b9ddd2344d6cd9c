"""The door as a component: the supervisor opens it and holds what comes through."""

import logging
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import ConfigError
from ctlha_trio._vocabulary import ctl_ha_comp_status, ctl_ha_component, ctl_ha_state
from ctlha_trio.door._data import DataDoor
from ctlha_trio.door._decisions import DECISIONS_FILE, DecisionLog
from ctlha_trio.door._forcing import OWED_FILE, Fencing, Forcing, OwedFile
from ctlha_trio.door._node import DoorNode
from ctlha_trio.door._record_log import RecordLog
from ctlha_trio.door._sockets import DATA_SOCKET, STATUS_SOCKET, BoundSocket
from ctlha_trio.door._status import CommandRefusals, StatusDoor, StatusSocket
from ctlha_trio.seams import Clock

_LOG: Final = logging.getLogger(__name__)


@attrs.define(eq=False)
class Door:
    """Both sockets of one node, in ``folder``. ``run`` serves them, the component's hooks say what they let in."""

    folder: Path
    """The node's own, mode 0700."""
    clock: Clock
    """By which refusals that repeat are told once. Not protocol time."""
    fencing: Fencing | None = None
    """What ``force-primary --fence`` uses."""
    _node: DoorNode | None = attrs.field(default=None, init=False)
    _data: DataDoor | None = attrs.field(default=None, init=False)
    _bound: list[BoundSocket] = attrs.field(factory=list, init=False)
    _decisions: DecisionLog = attrs.field(init=False)
    _records: RecordLog = attrs.field(init=False)
    _initialised: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._decisions = DecisionLog(self.folder / DECISIONS_FILE)
        self._records = RecordLog(self._decisions, self.clock)

    def component(self, node: DoorNode) -> ctl_ha_component:
        """The door of ``node``, for its supervisor. Called once."""
        self._node = node
        node.follow_records(self._records.note)
        node.follow_notices(self._records.notice)
        return ctl_ha_component(name="door", init=self._init, start=self._start, quiesce=self._quiesce)

    async def run(self) -> None:
        """Serve from the component's ``init`` on, until cancelled; then remove the sockets."""
        try:
            await self._initialised.wait()
            assert self._node is not None
            assert self._data is not None
            status, data = self._bound
            forcing = Forcing(self._node, self._decisions, OwedFile(self.folder / OWED_FILE), self.fencing)
            self._node.follow_records(forcing.note)
            refused = CommandRefusals(self._node, self._records.notice)
            async with trio.open_nursery() as nursery:
                answers = StatusDoor(self._node, self._decisions, forcing, refused)
                nursery.start_soon(StatusSocket(answers.answer).serve, status.listener)
                nursery.start_soon(forcing.run)
                nursery.start_soon(self._records.run)
                nursery.start_soon(self._data.serve, data.listener)
        finally:
            self._close()

    def _close(self) -> None:
        while self._bound:
            self._bound.pop().close()

    async def _init(self, _: ctl_ha_component) -> ctl_ha_comp_status:
        """Bind both sockets. ``ERROR``, never to be started again, if a name cannot be had."""
        assert self._node is not None
        await trio.lowlevel.checkpoint()
        try:
            for name in (STATUS_SOCKET, DATA_SOCKET):
                self._bound.append(BoundSocket.bind(self.folder / name))
        except ConfigError as error:
            _LOG.error("%s", error)
            self._close()
            return ctl_ha_comp_status.CTL_HA_COMP_STATUS_ERROR
        self._data = DataDoor(self._node)
        self._initialised.set()
        return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

    async def _start(self, _: ctl_ha_component, state: ctl_ha_state) -> ctl_ha_comp_status:
        """Let requests in, in every state: the node itself says where it is not primary."""
        assert self._data is not None
        await trio.lowlevel.checkpoint()
        self._data.open()
        return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK

    async def _quiesce(self, _: ctl_ha_component) -> ctl_ha_comp_status:
        """Hold new requests until the next start."""
        assert self._data is not None
        await trio.lowlevel.checkpoint()
        self._data.hold()
        return ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
