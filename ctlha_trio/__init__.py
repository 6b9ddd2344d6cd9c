"""A typed Trio implementation of the high-availability interface of FreeBSD's CAM Target Layer.

What a program that runs as one of two nodes needs: ``open_node`` and what goes into it, the names of the header, the
errors. ``ctlha_trio.seams`` has the real clock, disk and transports, ``ctlha_trio.arbiter`` the arbiters, and
``ctlha_trio.testing`` pairs to test against. Every other package is a part of the whole, see the page on architecture.
"""

from importlib.metadata import version as _version

from ctlha_trio._errors import (
    ArbiterError as ArbiterError,
    ArbiterSilentError as ArbiterSilentError,
    BusyError as BusyError,
    ComponentError as ComponentError,
    ConfigError as ConfigError,
    CtlHaError as CtlHaError,
    DamagedBlockError as DamagedBlockError,
    DisconnectError as DisconnectError,
    EmptyError as EmptyError,
    FailedError as FailedError,
    ForeignArbiterError as ForeignArbiterError,
    InvalidError as InvalidError,
    LocalProtocolError as LocalProtocolError,
    MediumError as MediumError,
    MiscompareError as MiscompareError,
    NoThreadError as NoThreadError,
    NotPrimaryError as NotPrimaryError,
    NotWholeError as NotWholeError,
    RecordsFullError as RecordsFullError,
    RefusedError as RefusedError,
    RemoteProtocolError as RemoteProtocolError,
    RoleStaysError as RoleStaysError,
    StoreError as StoreError,
    TurnedAwayError as TurnedAwayError,
    UnknownOutcomeError as UnknownOutcomeError,
    UnreadableError as UnreadableError,
    UntrustedPeerError as UntrustedPeerError,
)
from ctlha_trio._vocabulary import (
    CTL_HA_STATE_IS_HA as CTL_HA_STATE_IS_HA,
    CTL_HA_STATE_IS_SINGLE as CTL_HA_STATE_IS_SINGLE,
    RemoteBuffer as RemoteBuffer,
    ctl_evt_handler as ctl_evt_handler,
    ctl_ha_channel as ctl_ha_channel,
    ctl_ha_comp_status as ctl_ha_comp_status,
    ctl_ha_component as ctl_ha_component,
    ctl_ha_dt_cb as ctl_ha_dt_cb,
    ctl_ha_dt_cmd as ctl_ha_dt_cmd,
    ctl_ha_dt_req as ctl_ha_dt_req,
    ctl_ha_dtid as ctl_ha_dtid,
    ctl_ha_event as ctl_ha_event,
    ctl_ha_mode as ctl_ha_mode,
    ctl_ha_state as ctl_ha_state,
    ctl_ha_status as ctl_ha_status,
    ctl_hacmp_init_t as ctl_hacmp_init_t,
    ctl_hacmp_start_t as ctl_hacmp_start_t,
)
from ctlha_trio.dma import Region as Region, Rights as Rights, TransferTotals as TransferTotals
from ctlha_trio.ha import (
    ChannelConfig as ChannelConfig,
    ComponentWait as ComponentWait,
    DifferingSetting as DifferingSetting,
    FailoverObstacle as FailoverObstacle,
    FailoverPlan as FailoverPlan,
    FoundStatus as FoundStatus,
    GiveBackPolicy as GiveBackPolicy,
    HandoverPlan as HandoverPlan,
    MessageChannel as MessageChannel,
    NeedsFence as NeedsFence,
    Node as Node,
    NodeConfig as NodeConfig,
    Note as Note,
    Notice as Notice,
    NotYet as NotYet,
    Obstacle as Obstacle,
    PendingTransfer as PendingTransfer,
    Plan as Plan,
    PlannedStep as PlannedStep,
    Reason as Reason,
    Record as Record,
    Rehearsal as Rehearsal,
    Released as Released,
    StartAnswer as StartAnswer,
    Status as Status,
    TakeOverComponent as TakeOverComponent,
    TransferStatistics as TransferStatistics,
    Transition as Transition,
    VerificationStatus as VerificationStatus,
    Volume as Volume,
    Yes as Yes,
    may_start_t as may_start_t,
    open_node as open_node,
    released_t as released_t,
    run_node as run_node,
)
from ctlha_trio.seams import Seams as Seams

__version__ = _version("ctlha-trio")
