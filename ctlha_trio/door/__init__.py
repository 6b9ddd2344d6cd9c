"""The node's local door: two Unix sockets in its folder, one for status and one for data, and their clients.

It stays small on purpose. The data socket is what an initiator outside both nodes uses until a real front end exists:
numbered operations, several in flight, and three different answers for `not here`, `nobody knows` and `failed`.
"""

from ctlha_trio.door._asking import (
    FORCE_S as FORCE_S,
    STATUS_S as STATUS_S,
    SWITCHOVER_S as SWITCHOVER_S,
    failover_plan_of as failover_plan_of,
    force_plan_of as force_plan_of,
    force_primary_of as force_primary_of,
    status_of as status_of,
    switchover_of as switchover_of,
    switchover_plan_of as switchover_plan_of,
    verify_of as verify_of,
)
from ctlha_trio.door._boot import BOOT_S as BOOT_S, BootDoor as BootDoor
from ctlha_trio.door._client import (
    DoorClient as DoorClient,
    SentRequest as SentRequest,
    open_door_client as open_door_client,
)
from ctlha_trio.door._connect import access_denied as access_denied
from ctlha_trio.door._decisions import DECISIONS_FILE as DECISIONS_FILE, DecisionLog as DecisionLog
from ctlha_trio.door._door import Door as Door
from ctlha_trio.door._forcing import Fencing as Fencing
from ctlha_trio.door._node import DoorAnswer as DoorAnswer, DoorNode as DoorNode
from ctlha_trio.door._protocol import (
    MAX_IN_FLIGHT as MAX_IN_FLIGHT,
    MAX_REQUEST_BYTES as MAX_REQUEST_BYTES,
    Reply as Reply,
)
from ctlha_trio.door._sockets import (
    DATA_SOCKET as DATA_SOCKET,
    MAX_SOCKET_PATH_BYTES as MAX_SOCKET_PATH_BYTES,
    STATUS_SOCKET as STATUS_SOCKET,
    is_answered as is_answered,
)
from ctlha_trio.pair import OperationKind as OperationKind, Outcome as Outcome
