"""The session with the peer: connecting, channels of short messages, heartbeats, loss and return."""

from ctlha_trio.link._channel import Channel as Channel
from ctlha_trio.link._config import LinkConfig as LinkConfig
from ctlha_trio.link._deadline import finish_by as finish_by
from ctlha_trio.link._deadlines import Deadlines as Deadlines
from ctlha_trio.link._events import (
    ChannelEvent as ChannelEvent,
    Connected as Connected,
    Disconnected as Disconnected,
    EventRange as EventRange,
    LossReason as LossReason,
    OnSettled as OnSettled,
    SessionInfo as SessionInfo,
    unwatched as unwatched,
)
from ctlha_trio.link._link import Link as Link, check_channel_size as check_channel_size
from ctlha_trio.link._places import (
    TRANSFERS_IN_FLIGHT_MAX as TRANSFERS_IN_FLIGHT_MAX,
    TransferPlaces as TransferPlaces,
)
from ctlha_trio.link._statistics import LinkStatistics as LinkStatistics
from ctlha_trio.link._transfer import OnDone as OnDone, Placement as Placement, Transfer as Transfer
