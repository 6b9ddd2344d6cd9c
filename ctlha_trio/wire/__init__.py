"""What goes over the wire: frames, hello, sequences, credit, deadlines. Pure: bytes and ``now`` in, records out."""

from ctlha_trio.wire._codec import PLACED as PLACED, FrameDecoder as FrameDecoder, encode_header as encode_header
from ctlha_trio.wire._flow import NEVER as NEVER, ChannelFlow as ChannelFlow, ChannelOffer as ChannelOffer
from ctlha_trio.wire._frame import (
    CHANNEL_MAX as CHANNEL_MAX,
    CHANNEL_OPEN_BODY as CHANNEL_OPEN_BODY,
    CHECKSUM as CHECKSUM,
    COUNT_MAX as COUNT_MAX,
    DONE_PREFIX as DONE_PREFIX,
    FRAGMENT_PREFIX as FRAGMENT_PREFIX,
    FRAGMENT_SIZE_MAX as FRAGMENT_SIZE_MAX,
    FRAME_SIZE_MAX as FRAME_SIZE_MAX,
    HEAD_SIZE_MAX as HEAD_SIZE_MAX,
    HEADER_SIZE as HEADER_SIZE,
    HELLO_SIZE_MAX as HELLO_SIZE_MAX,
    KEY_SIZE as KEY_SIZE,
    MESSAGES_SIZE_MAX as MESSAGES_SIZE_MAX,
    NOTHING as NOTHING,
    PULL_BODY as PULL_BODY,
    PUSH_PREFIX as PUSH_PREFIX,
    REPLIES as REPLIES,
    REQUESTS as REQUESTS,
    SLOT_SIZE_MAX as SLOT_SIZE_MAX,
    TERMS_BODY as TERMS_BODY,
    WITHDRAW_BODY as WITHDRAW_BODY,
    Bytes as Bytes,
    Fault as Fault,
    Flag as Flag,
    Frame as Frame,
    FrameType as FrameType,
)
from ctlha_trio.wire._hello import (
    Hello as Hello,
    KnownRecord as KnownRecord,
    Refusal as Refusal,
    ResourceState as ResourceState,
    agreed_version as agreed_version,
    decode_hello as decode_hello,
    decode_reason as decode_reason,
    decode_refusal as decode_refusal,
    encode_hello as encode_hello,
    encode_reason as encode_reason,
    encode_refusal as encode_refusal,
    judge_hello as judge_hello,
    session_id as session_id,
)
from ctlha_trio.wire._landing import Landing as Landing
from ctlha_trio.wire._lateness import LATELY_S as LATELY_S, Lateness as Lateness
from ctlha_trio.wire._session import (
    HEARTBEAT_INTERVAL_S as HEARTBEAT_INTERVAL_S,
    SILENCE_S as SILENCE_S,
    SessionCore as SessionCore,
)
from ctlha_trio.wire._terms import (
    FRAGMENT_SIZE_MIN as FRAGMENT_SIZE_MIN,
    MANDATORY as MANDATORY,
    OWN_TERMS as OWN_TERMS,
    TERMS_OF_VERSION_1 as TERMS_OF_VERSION_1,
    TERMS_VERSION as TERMS_VERSION,
    Feature as Feature,
    Terms as Terms,
    agree_terms as agree_terms,
    decode_terms as decode_terms,
    encode_terms as encode_terms,
    judge_terms as judge_terms,
)
from ctlha_trio.wire._transfers import (
    Denial as Denial,
    Fragment as Fragment,
    PullRequest as PullRequest,
    PushOrder as PushOrder,
    Verdict as Verdict,
    decode_fragment as decode_fragment,
    decode_pull as decode_pull,
    decode_verdict as decode_verdict,
    decode_withdrawal as decode_withdrawal,
    encode_pull as encode_pull,
    encode_verdict as encode_verdict,
    encode_withdrawal as encode_withdrawal,
    fragment_prefix as fragment_prefix,
    push_prefix as push_prefix,
)
