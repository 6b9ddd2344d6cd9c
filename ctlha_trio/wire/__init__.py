"""What goes over the wire: frames, hello, sequences, credit, deadlines. Pure: bytes and ``now`` in, records out."""

from ctlha_trio.wire._codec import FrameDecoder as FrameDecoder, encode_header as encode_header
from ctlha_trio.wire._flow import ChannelFlow as ChannelFlow, ChannelOffer as ChannelOffer
from ctlha_trio.wire._frame import (
    CHANNEL_MAX as CHANNEL_MAX,
    CHANNEL_OPEN_BODY as CHANNEL_OPEN_BODY,
    FRAGMENT_SIZE_MAX as FRAGMENT_SIZE_MAX,
    FRAME_SIZE_MAX as FRAME_SIZE_MAX,
    HEADER_SIZE as HEADER_SIZE,
    HELLO_SIZE_MAX as HELLO_SIZE_MAX,
    KEY_SIZE as KEY_SIZE,
    MESSAGES_SIZE_MAX as MESSAGES_SIZE_MAX,
    PUSH_PREFIX as PUSH_PREFIX,
    SLOT_SIZE_MAX as SLOT_SIZE_MAX,
    Bytes as Bytes,
    Fault as Fault,
    Flag as Flag,
    Frame as Frame,
    FrameType as FrameType,
)
from ctlha_trio.wire._hello import (
    Hello as Hello,
    Refusal as Refusal,
    ResourceState as ResourceState,
    decode_hello as decode_hello,
    decode_reason as decode_reason,
    decode_refusal as decode_refusal,
    encode_hello as encode_hello,
    encode_reason as encode_reason,
    judge_hello as judge_hello,
    session_id as session_id,
)
from ctlha_trio.wire._session import (
    HEARTBEAT_INTERVAL_S as HEARTBEAT_INTERVAL_S,
    SILENCE_S as SILENCE_S,
    SessionCore as SessionCore,
)
