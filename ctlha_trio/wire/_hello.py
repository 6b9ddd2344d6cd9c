"""What two nodes tell each other before a session, and why one refuses the other.

The layout of a hello, and of a refusal, is frozen: both are read before either side knows what the other one speaks.
What a later version has to say goes into its session.
"""

import re
import struct
from enum import StrEnum
from typing import Any

import attrs

from ctlha_trio._errors import InvalidError, RemoteProtocolError
from ctlha_trio._printable import printable
from ctlha_trio.wire._frame import HELLO_SIZE_MAX, REASON_SIZE_MAX, Fault

PROTOCOL_VERSION_MIN = 1
PROTOCOL_VERSION_MAX = 2
RESOURCES_MAX = 6
"""With names of full length they still fit a hello."""
NAME_SIZE_MAX = 255
"""Bytes; the length field of a name is one byte."""

_FIXED = struct.Struct("<HHIQ")
_RESOURCE = struct.Struct("<QQQ?")
_BEHIND_REASON = b"\0"
_KNOWN = struct.Struct("<QQ?")
_WORD = re.compile(rb"[a-z][a-z0-9-]*")


class Refusal(StrEnum):
    """Why a hello was refused: the closed list of ``RefusedError.reason``."""

    SAME_NODE = "same-node"
    FOREIGN_CLUSTER = "foreign-cluster"
    WRONG_PEER = "wrong-peer"
    VERSION = "version"
    FEATURE = "feature"
    """One side demands what the other does not do."""
    RESOURCE = "resource"
    SIZE = "size"
    SIMULTANEOUS = "simultaneous"
    MALFORMED = "malformed"
    STOPPING = "stopping"
    DISK_HANGS = "disk-hangs"
    """The node would keep its peer waiting: it has a session again when its disk answers."""
    TWIN = "twin"
    """Another process with the same node id lives, and is in session."""
    SLOW = "slow"
    """The hello exchange was not over in its time."""
    BUSY = "busy"
    """As many others introduce themselves as may."""


IN_WORDS_OF_VERSION_1 = {
    Refusal.FEATURE: Refusal.VERSION,
    Refusal.SLOW: Refusal.SIMULTANEOUS,
    Refusal.BUSY: Refusal.SIMULTANEOUS,
}
"""What came into the list behind that version, which takes no other word: the one that makes it do the same."""
WORD_SIZE_MAX = 32
"""Characters of a reason to refuse, also of those that later versions may know."""


@attrs.frozen
class KnownRecord:
    """The newest record of a resource that a node has from the arbiter, whether or not it acts on it.

    Never one that it has only proposed. Records of another lineage are not to be compared with it.
    """

    lineage: str
    epoch: int
    revision: int
    leads: bool
    """Whether it names the node that says so primary."""
    ancestors: tuple[str, ...] = ()
    """Lineages from which persons began this one, as far as the node knows; the latest last."""


@attrs.frozen
class ResourceState:
    """What a node knows of one resource."""

    name: str
    epoch: int
    """Of the record that it acts on, and ``revision`` likewise; 0 while there is none."""
    revision: int
    size_bytes: int = 0
    """Of the volume. Two that differ are no pair: the tail of the larger one would never be compared."""
    knows: KnownRecord | None = None


@attrs.frozen(kw_only=True)
class Hello:
    """The introduction of one node."""

    cluster: str
    node: str
    incarnation: int
    """Random for each process."""
    session_half: int
    """Random for each connection, never 0; 32 bits."""
    resources: tuple[ResourceState, ...]
    version_min: int = PROTOCOL_VERSION_MIN
    version_max: int = PROTOCOL_VERSION_MAX

    @property
    def versions(self) -> str:
        """In words."""
        return f"{self.version_min} to {self.version_max}"

    @property
    def speaks_own_versions(self) -> bool:
        """Whether these are exactly the versions that this side speaks."""
        return (self.version_min, self.version_max) == (PROTOCOL_VERSION_MIN, PROTOCOL_VERSION_MAX)

    def resource(self, name: str) -> ResourceState | None:
        """What the node said of that resource."""
        return next((state for state in self.resources if state.name == name), None)


def session_id(*, dialler_half: int, acceptor_half: int) -> int:
    """The session that two hellos agree on: both halves, so neither side can be given an old one."""
    return dialler_half << 32 | acceptor_half


def agreed_version(one: Hello, other: Hello) -> int:
    """The newest that both speak, if there is one. The same whichever side asks."""
    return min(one.version_max, other.version_max)


def judge_hello(own: Hello, theirs: Hello, *, peer: str, resource: str) -> Refusal | None:
    """Why ``theirs`` cannot have a session with ``own``, whose configured peer is ``peer``; None if it can."""
    if theirs.node == own.node:
        return Refusal.SAME_NODE
    if theirs.cluster != own.cluster:
        return Refusal.FOREIGN_CLUSTER
    if theirs.node != peer:
        return Refusal.WRONG_PEER
    if theirs.version_min > own.version_max or theirs.version_max < own.version_min:
        return Refusal.VERSION
    mine, yours = own.resource(resource), theirs.resource(resource)
    if mine is None or yours is None:
        return Refusal.RESOURCE
    if mine.size_bytes != yours.size_bytes:
        return Refusal.SIZE
    return None


def why_refused(refusal: str, own: Hello, theirs: Hello) -> str:
    """In words, where both hellos together say more than the word of the refusal; else nothing."""
    if refusal == Refusal.VERSION:
        return f"node {theirs.node!r} speaks versions {theirs.versions} of the protocol, this node {own.versions}"
    if refusal == Refusal.SIZE:
        sizes = {each.name: each.size_bytes for each in own.resources}
        for each in theirs.resources:
            if each.name in sizes and each.size_bytes != sizes[each.name]:
                return (
                    f"the volume of node {theirs.node!r} has {each.size_bytes} bytes, that of this node "
                    f"{sizes[each.name]}, and both need the same"
                )
    return ""


def _name_bytes(name: str) -> bytes:
    encoded = name.encode()
    if not 1 <= len(encoded) <= NAME_SIZE_MAX:
        raise InvalidError(f"a name has 1 to {NAME_SIZE_MAX} bytes: {name!r}")
    return bytes([len(encoded)]) + encoded


def encode_hello(hello: Hello) -> bytes:
    """The payload of a hello. ``InvalidError`` for names that cannot be sent."""
    if len(hello.resources) > RESOURCES_MAX:
        raise InvalidError(f"a hello has at most {RESOURCES_MAX} resources")
    out = bytearray(_FIXED.pack(hello.version_min, hello.version_max, hello.session_half, hello.incarnation))
    out += _name_bytes(hello.cluster)
    out += _name_bytes(hello.node)
    out.append(len(hello.resources))
    for state in hello.resources:
        out += _name_bytes(state.name)
        knows = state.knows
        out += _RESOURCE.pack(state.epoch, state.revision, state.size_bytes, knows is not None)
        if knows is not None:
            out += _name_bytes(knows.lineage) + _KNOWN.pack(knows.epoch, knows.revision, knows.leads)
            out += bytes([len(knows.ancestors)]) + b"".join(map(_name_bytes, knows.ancestors))
    return bytes(out)


@attrs.define(eq=False)
class _Reader:
    """Takes pieces off the front of a hello."""

    data: bytes
    position: int = 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise RemoteProtocolError(Fault.HELLO.value, "cut short")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def fields(self, layout: struct.Struct) -> tuple[Any, ...]:
        piece = self.take(layout.size)
        fields = layout.unpack(piece)
        if layout.pack(*fields) != piece:
            raise RemoteProtocolError(Fault.HELLO.value, "a truth value that is neither 0 nor 1")
        return fields

    def name(self) -> str:
        size = self.take(1)[0]
        try:
            name = self.take(size).decode()
        except UnicodeDecodeError as error:
            raise RemoteProtocolError(Fault.HELLO.value, "name is not UTF-8") from error
        if not name.isprintable() or not name:
            raise RemoteProtocolError(Fault.HELLO.value, "name is empty or not printable")
        return name


def _read_resource(reader: _Reader) -> ResourceState:
    name = reader.name()
    epoch, revision, size_bytes, has_known = reader.fields(_RESOURCE)
    if not has_known:
        return ResourceState(name, epoch, revision, size_bytes)
    lineage, (known_epoch, known_revision, leads) = reader.name(), reader.fields(_KNOWN)
    ancestors = tuple(reader.name() for _ in range(reader.take(1)[0]))
    knows = KnownRecord(lineage, known_epoch, known_revision, leads, ancestors)
    return ResourceState(name, epoch, revision, size_bytes, knows)


def decode_hello(payload: bytes | memoryview) -> Hello:
    """The hello in a payload. ``RemoteProtocolError`` for anything but a well-formed one."""
    reader = _Reader(bytes(payload[:HELLO_SIZE_MAX]))
    version_min, version_max, half, incarnation = _FIXED.unpack(reader.take(_FIXED.size))
    if not 1 <= version_min <= version_max:
        raise RemoteProtocolError(Fault.HELLO.value, "versions out of order")
    if half == 0:
        raise RemoteProtocolError(Fault.HELLO.value, "session half is zero")
    cluster, node = reader.name(), reader.name()
    count = reader.take(1)[0]
    if count > RESOURCES_MAX:
        raise RemoteProtocolError(Fault.HELLO.value, "too many resources")
    resources = [_read_resource(reader) for _ in range(count)]
    if len({state.name for state in resources}) != count:
        raise RemoteProtocolError(Fault.HELLO.value, "a resource twice")
    if reader.position != len(payload):
        raise RemoteProtocolError(Fault.HELLO.value, "bytes behind the end")
    return Hello(
        cluster=cluster,
        node=node,
        incarnation=incarnation,
        session_half=half,
        resources=tuple(resources),
        version_min=version_min,
        version_max=version_max,
    )


def encode_refusal(refusal: Refusal, own: Hello | None = None, *, version: int = PROTOCOL_VERSION_MAX) -> bytes:
    """The payload of a refusal. With ``own`` the side that refuses says who it is, and what it knows, all the same.

    ``version`` is the newest that the other side is known to speak.
    """
    word = refusal if version > 1 else IN_WORDS_OF_VERSION_1.get(refusal, refusal)
    return word.value.encode() + (b"" if own is None else _BEHIND_REASON + encode_hello(own))


def decode_refusal(payload: bytes | memoryview) -> tuple[str, Hello | None]:
    """The reason in a refusal, and the hello behind it, if any. ``RemoteProtocolError`` if that is no word.

    It is a ``Refusal``, or what a later version has in its list.
    """
    reason, separator, hello = bytes(payload).partition(_BEHIND_REASON)
    if len(reason) > WORD_SIZE_MAX or not _WORD.fullmatch(reason):
        raise RemoteProtocolError(Fault.REASON.value, "not a word")
    return reason.decode("ascii"), decode_hello(hello) if separator else None


def encode_reason(reason: str) -> bytes:
    """A goodbye's reason, cut to what its frame may carry, with a question mark for what is not printable."""
    return printable(reason).encode()[:REASON_SIZE_MAX].decode(errors="ignore").encode()


def decode_reason(payload: bytes | memoryview) -> str:
    """The reason in a goodbye, printable in one line. ``RemoteProtocolError`` if it is not."""
    try:
        reason = bytes(payload).decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(Fault.REASON.value, "not UTF-8") from error
    if not reason.isprintable():
        raise RemoteProtocolError(Fault.REASON.value, "not printable")
    return reason
