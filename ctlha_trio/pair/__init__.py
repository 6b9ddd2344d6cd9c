"""The replicated state machine of the pair: pure, no clock, no I/O, no bytes of data.

``boot`` and ``step_pair`` are the machine; ``events`` is all that it takes, ``actions`` all that it orders,
``messages`` all that the nodes say to each other, and ``encode`` and ``decode`` their form in the slots of a channel.
"""

from ctlha_trio.pair._carried_records import (
    KEY_BYTES_MAX as KEY_BYTES_MAX,
    RECORDS_BYTES_MAX as RECORDS_BYTES_MAX,
    CarriedRecord as CarriedRecord,
    Records as Records,
    check_record as check_record,
    decode_record as decode_record,
    decode_records as decode_records,
    encode_record as encode_record,
    encode_records as encode_records,
    encoded_bytes as encoded_bytes,
    with_record as with_record,
)
from ctlha_trio.pair._codec import (
    SLOT_BYTES as SLOT_BYTES,
    WRITE_BYTES_MAX as WRITE_BYTES_MAX,
    decode as decode,
    encode as encode,
)
from ctlha_trio.pair._core import RECORD_POLL_S as RECORD_POLL_S, boot as boot, step_pair as step_pair
from ctlha_trio.pair._failover_plan import (
    FailoverObstacle as FailoverObstacle,
    FailoverPlan as FailoverPlan,
    plan_failover as plan_failover,
)
from ctlha_trio.pair._force import NOT_POWERED_OFF as NOT_POWERED_OFF, Plan as Plan, plan_force as plan_force
from ctlha_trio.pair._handover import HANDOVER_LIMIT_S as HANDOVER_LIMIT_S
from ctlha_trio.pair._metadata import PROPOSED_MAX as PROPOSED_MAX, Copy as Copy, Metadata as Metadata
from ctlha_trio.pair._operation import (
    CHANGING as CHANGING,
    READING as READING,
    WRITING as WRITING,
    ZEROING as ZEROING,
    Operation as Operation,
    OperationKind as OperationKind,
    Outcome as Outcome,
)
from ctlha_trio.pair._permits import (
    CLOCKS_DIFFER as CLOCKS_DIFFER,
    PERMIT_OUT_S as PERMIT_OUT_S,
    PERMIT_S as PERMIT_S,
)
from ctlha_trio.pair._phase import MEMBERS as MEMBERS, TRANSITIONS as TRANSITIONS, Phase as Phase
from ctlha_trio.pair._plan import (
    HandoverPlan as HandoverPlan,
    Obstacle as Obstacle,
    PlannedStep as PlannedStep,
    Setback as Setback,
    can_hand_over as can_hand_over,
    handover_obstacles as handover_obstacles,
    plan_handover as plan_handover,
)
from ctlha_trio.pair._proposals import KEPT_BYTES_MAX as KEPT_BYTES_MAX
from ctlha_trio.pair._range import Range as Range, overlap as overlap
from ctlha_trio.pair._record import (
    ANCESTORS_MAX as ANCESTORS_MAX,
    RECORD_FORMAT as RECORD_FORMAT,
    Fence as Fence,
    Kind as Kind,
    NodeId as NodeId,
    Record as Record,
    SwapOutcome as SwapOutcome,
)
from ctlha_trio.pair._service import accepts as accepts
from ctlha_trio.pair._spoken import (
    SECONDS_MAX as SECONDS_MAX,
    SETTING_NAME_MAX as SETTING_NAME_MAX,
    SETTING_VALUE_MAX as SETTING_VALUE_MAX,
    ComponentsReady as ComponentsReady,
    DataFault as DataFault,
    DataFaultTold as DataFaultTold,
    Grant as Grant,
    Kept as Kept,
    OfDrivers as OfDrivers,
    Pushed as Pushed,
    PushedMessage as PushedMessage,
    ResyncLeft as ResyncLeft,
    Setting as Setting,
    Spoken as Spoken,
    pushed_bytes as pushed_bytes,
)
from ctlha_trio.pair._state import (
    COPIES_AT_ONCE as COPIES_AT_ONCE,
    COPY_CHUNK_BYTES as COPY_CHUNK_BYTES,
    FLIGHTS_LIMIT as FLIGHTS_LIMIT,
    RANGES_LIMIT as RANGES_LIMIT,
    SEARCH_RANGES as SEARCH_RANGES,
    PairState as PairState,
    Stage as Stage,
)
from ctlha_trio.pair._verification import Finding as Finding, Found as Found, Verification as Verification
