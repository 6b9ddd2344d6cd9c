"""Every error of the package, in one small tree.

Each carries the header's status that says the same. The bases say whose fault it is: the caller's (``InvalidError``),
nobody's (``BusyError``, ``EmptyError``), the link's (``DisconnectError``), or that of a thing outside that failed
(``FailedError``).
"""

import errno
from pathlib import Path
from typing import ClassVar

import trio

from ctlha_trio._vocabulary import ctl_ha_status


class CtlHaError(Exception):
    """Root of the tree; never raised itself."""

    status: ClassVar[ctl_ha_status] = ctl_ha_status.CTL_HA_STATUS_ERROR


class FailedError(CtlHaError):
    """Something outside this call failed: the peer, the disk, the arbiter, a component."""


class InvalidError(CtlHaError):
    """The caller asked for something that cannot be."""

    status: ClassVar[ctl_ha_status] = ctl_ha_status.CTL_HA_STATUS_INVALID


class DisconnectError(CtlHaError, trio.BrokenResourceError):
    """There is no session with the peer, or it ended before the operation did."""

    status: ClassVar[ctl_ha_status] = ctl_ha_status.CTL_HA_STATUS_DISCONNECT


class TurnedAwayError(DisconnectError):
    """A node's local socket did not take this connection: nothing that was sent through it was executed.

    ``reason`` names why.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class BusyError(CtlHaError, trio.WouldBlock):
    """No slot or credit is free; nothing was done."""

    status: ClassVar[ctl_ha_status] = ctl_ha_status.CTL_HA_STATUS_BUSY


class EmptyError(CtlHaError, trio.WouldBlock):
    """Nothing has been received."""

    status: ClassVar[ctl_ha_status] = ctl_ha_status.CTL_HA_STATUS_WAIT


class LocalProtocolError(InvalidError):
    """This side used a protocol core against its rules: a bug here."""


class RemoteProtocolError(FailedError):
    """The peer sent what the protocol does not allow. ``reason`` is short and closed, fit for a refusal."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class RefusedError(FailedError):
    """The peer refused the session (``by_peer``), or this node refused the peer's. ``reason`` names why."""

    def __init__(self, reason: str, detail: str = "", *, by_peer: bool = False) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.by_peer = by_peer


class UntrustedPeerError(FailedError):
    """The other side's key is not pinned here, or ours is not pinned there."""


class StoreError(FailedError):
    """The disk refused or corrupted something; the copy on it is dead."""


class UnreadableError(StoreError):
    """The medium does not give back what is at a place. The disk lives: what is written there anew may be read."""


class DamagedBlockError(StoreError):
    """Blocks are not what was written there last. The store lives on: good data can be written over them.

    ``offsets`` says where they begin, in bytes of the volume, in order.
    """

    def __init__(self, offsets: tuple[int, ...]) -> None:
        others = f" and {len(offsets) - 1} more" if len(offsets) > 1 else ""
        super().__init__(f"the block at {offsets[0]}{others}: damaged, what it holds is not what was written there")
        self.offsets = offsets


class RecordsFullError(InvalidError):
    """All records together would be more than a copy carries: nothing was written, and the store lives on.

    Room is made sure of before a record is put, so to find out by this is a bug here. The copy is as good as before.
    """


class NoThreadError(FailedError, OSError):
    """No thread can be started now: nothing was begun."""

    def __init__(self) -> None:
        super().__init__(
            errno.EAGAIN,
            "no thread can be started now: "
            "this user (ulimit -u), the service (TasksMax=) or the machine may have no more",
        )

    def __str__(self) -> str:
        return str(self.strerror)


class ArbiterError(FailedError):
    """The arbiter could not be asked, or gave an answer that cannot be used."""


class ArbiterSilentError(ArbiterError):
    """Nobody at the arbiter gave a usable answer in time. ``sent``: the question may have been taken all the same."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent


class ForeignArbiterError(ArbiterError):
    """The arbiter was asked, and the pair's own data is not there: it is gone, or another's lies in its place."""


class ComponentError(FailedError):
    """A component answered FAILED or ERROR, took too long, or raised: what it raised is the cause."""


class MediumError(FailedError):
    """A block is damaged on every copy that counts; nothing was executed. Writing the whole block heals it."""


class RoleStaysError(FailedError):
    """A switchover did not come about. ``causes`` names why, each an ``Obstacle`` or a ``Setback`` of the pair.

    Refused while another change is under way it says nothing of where the role is: that change may move it.
    """

    def __init__(self, causes: tuple[str, ...], problem: str = "") -> None:
        super().__init__(problem or f"nothing was handed over: {', '.join(causes)}")
        self.causes = causes


class NotPrimaryError(FailedError):
    """This node does not serve the volume now; nothing was executed."""


class UnknownOutcomeError(FailedError):
    """The operation may or may not have been executed."""


class MiscompareError(FailedError):
    """A compare-and-write found something else than it expected, and wrote nothing.

    ``offset`` is the first byte that differs, in bytes of the volume.
    """

    def __init__(self, offset: int) -> None:
        super().__init__(f"the byte at {offset} is not what was expected")
        self.offset = offset


class ConfigError(InvalidError):
    """What the user wrote cannot be used. Names the file and the key in it."""

    def __init__(self, file: Path | str, key: str, problem: str) -> None:
        super().__init__(f"{file}: {key}: {problem}" if key else f"{file}: {problem}")
        self.file: str = str(file)
        self.key = key
        self.problem = problem


class NotWholeError(ConfigError):
    """The file of a volume is empty, or was cut short: nothing of it is served."""
