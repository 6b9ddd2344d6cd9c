"""A node of the pair: its supervisor and components, its volume, and the driver of its pair core."""

from ctlha_trio.ha._client_requests import Answer as Answer
from ctlha_trio.ha._component_failover import COMPONENT_HOLD_DOWN_S as COMPONENT_HOLD_DOWN_S
from ctlha_trio.ha._config import (
    DEFAULT_CHANNEL as DEFAULT_CHANNEL,
    ChannelConfig as ChannelConfig,
    NodeConfig as NodeConfig,
    check_channels as check_channels,
)
from ctlha_trio.ha._current import current_node as current_node
from ctlha_trio.ha._direct_transfers import PendingTransfer as PendingTransfer
from ctlha_trio.ha._give_back import HOLD_DOWN_S as HOLD_DOWN_S, GiveBackPolicy as GiveBackPolicy
from ctlha_trio.ha._message_channel import MessageChannel as MessageChannel
from ctlha_trio.ha._misconfiguration import FIRST_EPOCH as FIRST_EPOCH, KEYS_OF_REFUSALS as KEYS_OF_REFUSALS
from ctlha_trio.ha._node import Node as Node
from ctlha_trio.ha._notices import HALT as HALT, REFUSED as REFUSED, Notice as Notice
from ctlha_trio.ha._peer_returns import RETURNS_LIMIT as RETURNS_LIMIT
from ctlha_trio.ha._permits import RENEW_S as RENEW_S, HeldPermit as HeldPermit
from ctlha_trio.ha._rehearsal import Rehearsal as Rehearsal
from ctlha_trio.ha._run_node import (
    PAIR_CHANNEL as PAIR_CHANNEL,
    no_components as no_components,
    open_node as open_node,
    run_node as run_node,
)
from ctlha_trio.ha._shared_settings import DifferingSetting as DifferingSetting
from ctlha_trio.ha._status import (
    ComponentWait as ComponentWait,
    Note as Note,
    Reason as Reason,
    Status as Status,
    TransferStatistics as TransferStatistics,
    booting_status as booting_status,
    judge as judge,
)
from ctlha_trio.ha._take_over import (
    NeedsFence as NeedsFence,
    NotYet as NotYet,
    Released as Released,
    StartAnswer as StartAnswer,
    TakeOverComponent as TakeOverComponent,
    Yes as Yes,
    may_start_t as may_start_t,
    released_t as released_t,
)
from ctlha_trio.ha._transitions import Transition as Transition
from ctlha_trio.ha._verification_status import FoundStatus as FoundStatus, VerificationStatus as VerificationStatus
from ctlha_trio.ha._volume import (
    COMPARE_BYTES_MAX as COMPARE_BYTES_MAX,
    ZEROES_BYTES_MAX as ZEROES_BYTES_MAX,
    Volume as Volume,
)
from ctlha_trio.pair import (
    FailoverObstacle as FailoverObstacle,
    FailoverPlan as FailoverPlan,
    HandoverPlan as HandoverPlan,
    Obstacle as Obstacle,
    OperationKind as OperationKind,
    Outcome as Outcome,
    Plan as Plan,
    PlannedStep as PlannedStep,
    Record as Record,
)
