"""What a node says of itself: one verdict, then the reasons."""

from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Final, Literal

import attrs

from ctlha_trio._vocabulary import ctl_ha_state
from ctlha_trio.dma import TransferTotals
from ctlha_trio.ha._shared_settings import DifferingSetting
from ctlha_trio.ha._transitions import Transition
from ctlha_trio.ha._verification_status import VerificationStatus
from ctlha_trio.pair import MEMBERS, PairState, Phase


class Reason(Enum):
    """Why the verdict is not ``protected``. Closed: everything else is a note.

    In the order in which a status tells them: what has to be done before anything else helps stands first. So nobody is
    told to start a node that does not start, or to stop one that holds the only copy.
    """

    DISK_HANGS = "disk-hangs"
    """A disk call has neither ended nor failed for so long that the node does without a session."""
    FILE_GONE = "file-gone"
    """The path of the copy does not name the file that the node has open, which ends with the process."""
    ARBITER_SILENT = "arbiter-silent"
    ARBITER_REFUSES = "arbiter-refuses"
    """It is read, and takes no change: no claim, admission or handover, so that the loss of a node would halt all."""
    BOOTING = "booting"
    STORE_FAILED = "store-failed"
    ARBITER_WENT_BACK = "arbiter-went-back"
    FOREIGN_RECORD = "foreign-record"
    FOREIGN_LINEAGE = "foreign-lineage"
    TWIN = "twin"
    LEAVING = "leaving"
    OUTDATED = "outdated"
    COPY_FAILED = "copy-failed"
    COPY_WENT_BACK = "copy-went-back"
    COPY_INCOMPLETE = "copy-incomplete"
    COPY_NOT_WHOLE = "copy-not-whole"
    """The record does not name it, and its resync never ended, or did not begin: by itself it is of no use."""
    RESYNC_BLOCKED = "resync-blocked"
    RESYNCING = "resyncing"
    WAITING_FOR_PEER = "waiting-for-peer"
    PEER_LOST = "peer-lost"
    PEER_OUTDATED = "peer-outdated"
    CLAIMING = "claiming"
    HANDLER_FAILED = "handler-failed"
    COMPONENT_FAILED = "component-failed"
    """One does not run, and is asked again."""
    COMPONENT_RAISED = "component-raised"
    """One has a bug: a hook of it raised. It is asked again."""
    COMPONENT_ERROR = "component-error"
    """One has answered ERROR, and must never be started again."""
    COMPONENT_WAITS = "component-waits"
    """One that runs where the role is may not start yet, and says why."""
    COMPONENT_NEEDS_FENCE = "component-needs-fence"
    """One that runs where the role is does not start before the other node is known to be fenced."""
    COMPONENT_NOT_RELEASED = "component-not-released"
    """This node has given up the role, and one that ran here is not known to have let go."""
    COMPONENT_STARTING = "component-starting"
    """This node is a member, and its components are on their way to run beside the other one."""
    PEER_COMPONENTS = "peer-components"
    """Those of the other member do not all run: it could not take over at once."""
    LINK_FLAPS = "link-flaps"
    """The peer could be a member, but the link is not trusted yet."""
    PEER_RESTARTS = "peer-restarts"
    """The peer could be a member, but it ended and started anew too often."""
    MEDIUM_ERROR = "medium-error"
    """Blocks are lost, as this node has met or the other one has told: both say so, and each log names them."""
    DISK_FAILING = "disk-failing"
    PEER_DISK_FAILING = "peer-disk-failing"
    """The other node says so of its own, or that the file on it is gone."""
    COPIES_DIFFER = "copies-differ"
    """As a comparison has found that was asked for here or there: both say so."""


class Note(Enum):
    """What is true and worth knowing, and no fault. Closed; the set-up may add ``SHARED_FAILURE_DOMAIN``.

    The door adds ``FENCE_OWED``.
    """

    SHARED_FAILURE_DOMAIN = "shared-failure-domain"
    """The arbiter dies with one of the nodes."""
    LINK_FLAPS = "link-flaps"
    PEER_RESTARTS = "peer-restarts"
    LOOP_STALLED = "loop-stalled"
    GIVE_BACK_WAITS = "give-back-waits"
    GIVE_BACK_BACKED_OFF = "give-back-backed-off"
    SETTINGS_DIFFER = "settings-differ"
    """The two configurations do not say alike what they are to."""
    FENCE_OWED = "fence-owed"
    """A fence was asked for, and how that ended is not known. Of a node with a door, which remembers it."""


FLAWS: Final = (Reason.COPY_FAILED, Reason.COPY_WENT_BACK, Reason.COPY_INCOMPLETE)
"""Why a copy does not count although the record names it."""

Role = Literal["primary", "secondary", "outdated", "none"]
Verdict = Literal["protected", "degraded", "at-risk", "stopped"]

_OWN_ROLE: Final = frozenset({Phase.SUSPENDED, Phase.CLAIMING})
_ROLES: Final[dict[Phase, Role]] = {
    Phase.SECURING: "primary",
    Phase.ALONE: "primary",
    Phase.ADMITTING: "primary",
    Phase.MIRRORING: "primary",
    Phase.HANDING_OVER: "primary",
    Phase.FOLLOWING: "secondary",
    Phase.OUTDATED: "outdated",
    Phase.RESYNCING: "outdated",
}


@attrs.frozen
class ComponentWait:
    """What keeps a component from being started here, or is not known of one that was to let go."""

    component: str
    """Its name."""
    reason: str
    """``component-waits``, ``component-needs-fence`` or ``component-not-released``."""
    why: str
    """In one line."""
    left_s: float | None
    """Seconds, by the component's own estimate; None without one."""


@attrs.frozen(kw_only=True)
class TransferStatistics:
    """By whose the data is."""

    pair: TransferTotals
    """The pair's own: writes that are mirrored, copies, repairs, records."""
    ctl: TransferTotals
    """``CTL_HA_DATA_CTL``."""
    zfs: TransferTotals
    """``CTL_HA_DATA_ZFS``."""
    native: TransferTotals
    """``Node.push`` and ``Node.pull``, and what comes by keys that were registered without a data id."""


@attrs.frozen(kw_only=True)
class Status:
    """The fields of ``ctlha status --json``."""

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    node: str
    role: Role
    state: str
    """The header's name."""
    epoch: int
    link: Literal["online", "unknown"]
    link_version: int | None
    """Of the protocol that both nodes speak; None without a session, as the three figures below."""
    round_trip_s: float | None
    """Of the latest heartbeat of this node that the peer has answered; None before the first too."""
    heartbeat_late_s: float | None
    """The most by which this node was late lately, with a heartbeat or a look for the peer's."""
    peer_heartbeat_late_s: float | None
    """The most by which the peer's heartbeats were late lately, as they say; None too if they do not say so."""
    arbiter: Literal["online", "unknown"]
    resync_bytes_left: int
    """To be compared, and copied where it differs, at the source and at the target; 0 if no resync is under way."""
    resync_bytes_per_s: int
    """By which that became less in the last seconds; 0 if that is not known."""
    resync_left_s: int | None
    """Seconds that the rest takes at that rate; None if that is not known."""
    repaired_blocks: int
    """Of this node's disk, from the other copy, since the node started."""
    damaged_bytes: int
    """Met since, here or at the other node, damaged on every copy that counts, and not whole since."""
    verification: VerificationStatus | None
    """The latest that was asked for at this node since it started."""
    flaps: int
    """How often the session was lost and resumed in the last five minutes, but for those that were ended on purpose."""
    peer_restarts: int
    """How often another process of the peer's came in the last five minutes."""
    loop_late_s: float
    """The most by which the node's event loop ran late in the last minute, in seconds."""
    give_back_in_s: float | None
    """Seconds until the role goes back to the preferred node if all stays well; None if nothing is to go back."""
    transitions: tuple[Transition, ...]
    """The latest, oldest first."""
    differing_settings: tuple[DifferingSetting, ...] = ()
    """What the other node's configuration says otherwise, as that has told in this session."""
    transfers: TransferStatistics | None = None
    """What transfers have moved since the node started. None while it has not come to know anything yet."""
    fence_owed: str | None = None
    """The node that is to be fenced, as the door of this one remembers: how that ended is not known. Empty if it cannot
    be told which; None: no fence is owed."""
    component_waits: tuple[ComponentWait, ...] = ()
    """What components that run where the role is wait for."""


def booting_status(node: str, notes: tuple[str, ...], *reasons: Reason) -> Status:
    """Of a node that has not come to know anything yet."""
    return Status(
        verdict="at-risk",
        reasons=tuple(reason.value for reason in in_order({Reason.BOOTING, *reasons})),
        notes=notes,
        node=node,
        role="none",
        state=ctl_ha_state.CTL_HA_STATE_UNKNOWN.name,
        epoch=0,
        link="unknown",
        link_version=None,
        round_trip_s=None,
        heartbeat_late_s=None,
        peer_heartbeat_late_s=None,
        arbiter="unknown",
        resync_bytes_left=0,
        resync_bytes_per_s=0,
        resync_left_s=None,
        repaired_blocks=0,
        damaged_bytes=0,
        verification=None,
        flaps=0,
        peer_restarts=0,
        loop_late_s=0.0,
        give_back_in_s=None,
        transitions=(),
    )


def role_of(state: PairState) -> Role:
    """The role that the node has in this phase."""
    if state.phase in _OWN_ROLE:
        return "primary" if state.primary else "secondary"
    return _ROLES.get(state.phase, "none")


def is_paired(state: PairState) -> bool:
    """Whether it is one of two members that have each other; not while a handover is decided whose peer is lost."""
    return state.phase in MEMBERS and (state.phase is not Phase.HANDING_OVER or bool(state.partner))


def has_stopped(state: PairState, *, mark_tried: bool = True) -> bool:
    """Whether it serves nothing until a person has looked, also if it starts anew.

    What it was told of a later record keeps it from serving then, and so does the mark of a copy that has died. Before
    that is durable, whoever ended the process and took this for true would start a node that knows nothing of it, and
    acts on the older record, or serves the dead copy, if the other one is gone. A disk that does not take the mark at
    the first try is not waited for: it may never do.
    """
    if state.phase is not Phase.STOPPED:
        return False
    return mark_tried if state.why == Reason.STORE_FAILED.value else state.persisting is None


def in_order(reasons: AbstractSet[Reason]) -> tuple[Reason, ...]:
    """As a status tells them."""
    return tuple(reason for reason in Reason if reason in reasons)


def judge(
    state: PairState, *, source_blocked: bool = False, mark_tried: bool = True
) -> tuple[Verdict, tuple[Reason, ...]]:
    """The verdict, and every reason why it is not ``protected``, as a status tells them.

    ``source_blocked``: the source of the resync that this node is the target of cannot copy all of it. ``mark_tried``:
    the mark of a copy that has died is made, or its disk has not taken it.
    """
    verdict, reasons = _judge(state, source_blocked, mark_tried)
    return verdict, in_order(reasons)


def _judge(state: PairState, source_blocked: bool, mark_tried: bool) -> tuple[Verdict, frozenset[Reason]]:
    silent = _if(not state.arbiter_answers, Reason.ARBITER_SILENT)
    unable = _if(state.arbiter_refuses, Reason.ARBITER_REFUSES) or silent
    lost = _if(not state.session, Reason.PEER_LOST)
    lost_in_handover = state.phase is Phase.HANDING_OVER and not is_paired(state)
    # Clients are held for as long as the arbiter leaves it in doubt, whatever was proposed.
    in_doubt = state.phase in {Phase.ADMITTING, Phase.HANDING_OVER} and state.swap is not None and state.swap.doubtful
    match Phase.CLAIMING if lost_in_handover or in_doubt else state.phase:
        case Phase.MIRRORING | Phase.FOLLOWING | Phase.HANDING_OVER:
            return "degraded" if unable else "protected", unable
        case Phase.ALONE | Phase.ADMITTING:
            behind = lost or {Reason.PEER_OUTDATED}
            if state.resync:
                behind = {Reason.RESYNC_BLOCKED if state.resync.left_out else Reason.RESYNCING}
            return "degraded", unable | behind
        case Phase.SUSPENDED | Phase.CLAIMING | Phase.SECURING:
            return "at-risk", unable | lost | {Reason.CLAIMING}
        case Phase.OUTDATED | Phase.RESYNCING:
            served = state.standing is not None and state.standing.phase in {Phase.ALONE, Phase.ADMITTING}
            return "degraded" if served else "at-risk", silent | lost | _behind(state, source_blocked)
        case Phase.WAITING:
            return "at-risk", silent | {Reason.WAITING_FOR_PEER}
        case Phase.BOOTING:
            return "at-risk", silent | {Reason.BOOTING}
        case Phase.STOPPED:
            return "stopped" if has_stopped(state, mark_tried=mark_tried) else "at-risk", frozenset({Reason(state.why)})
        case Phase.LEFT:
            return "stopped", frozenset({Reason.LEAVING})


def _behind(state: PairState, source_blocked: bool) -> frozenset[Reason]:
    """Why the copy of this node, which is no member, does not count."""
    if state.phase is Phase.RESYNCING:
        return frozenset({Reason.RESYNC_BLOCKED if source_blocked else Reason.RESYNCING})
    flaw = frozenset(each for each in FLAWS if each.value == state.why)
    not_whole = _if(not state.metadata.copy.is_whole, Reason.COPY_NOT_WHOLE)
    return (flaw or not_whole) | {Reason.OUTDATED}


def _if(is_so: bool, reason: Reason) -> frozenset[Reason]:
    return frozenset({reason} if is_so else ())
