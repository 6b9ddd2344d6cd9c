"""Layout of the data socket: little-endian, fixed heads, numbered requests and replies.

A client sends one hello, then requests with rising numbers. Replies come in the order in which the operations end.
"""

from enum import Enum
from struct import Struct, error as StructError
from typing import Final

import attrs

from ctlha_trio._errors import InvalidError, RemoteProtocolError, TurnedAwayError
from ctlha_trio.ha import COMPARE_BYTES_MAX, ZEROES_BYTES_MAX
from ctlha_trio.pair import CHANGING, KEY_BYTES_MAX, RECORDS_BYTES_MAX, OperationKind, Outcome
from ctlha_trio.seams import Buffer

MAX_IN_FLIGHT: Final = 64
"""Requests of one connection: twice what a SCSI initiator keeps queued on one LUN by default."""
MAX_IN_FLIGHT_BYTES: Final = 8 * 1024 * 1024
"""Data of one connection: eight of the largest requests, so that eight connections cost at most 64 MiB."""
MAX_REQUEST_BYTES: Final = 1024 * 1024
"""The largest transfer that common initiators send in one command."""


class Question(Enum):
    """What a client may ask that is no operation."""

    OUTCOME_OF = 1
    """How the operation ended whose number stands where others have their offset."""


OUTCOME_OF: Final = Question.OUTCOME_OF
RequestKind = OperationKind | Question

_MAGIC: Final = b"ctlhadat"
_VERSION: Final = 1
_HELLO: Final = Struct("<8sHQ")
_REQUEST: Final = Struct("<QBQI")
_REPLY: Final = Struct("<QBI")

HELLO_BYTES: Final = _HELLO.size
REQUEST_BYTES: Final = _REQUEST.size
REPLY_BYTES: Final = _REPLY.size

_KINDS: Final[dict[int, "RequestKind"]] = {
    1: OperationKind.READ,
    2: OperationKind.WRITE,
    3: OperationKind.FLUSH,
    4: OperationKind.WRITE_ZEROES,
    5: OperationKind.UNMAP,
    6: OperationKind.COMPARE_AND_WRITE,
    7: OperationKind.PUT_RECORD,
    8: OperationKind.READ_RECORDS,
    64: OUTCOME_OF,
}
_KIND_CODES: Final = {kind: code for code, kind in _KINDS.items()}
_SIZES: Final[dict["RequestKind", tuple[int, int]]] = {
    OperationKind.READ: (1, MAX_REQUEST_BYTES),
    OperationKind.WRITE: (1, MAX_REQUEST_BYTES),
    OperationKind.FLUSH: (0, 0),
    OperationKind.WRITE_ZEROES: (1, ZEROES_BYTES_MAX),
    OperationKind.UNMAP: (1, ZEROES_BYTES_MAX),
    OperationKind.COMPARE_AND_WRITE: (1, COMPARE_BYTES_MAX),
    OperationKind.PUT_RECORD: (1, RECORDS_BYTES_MAX),
    OperationKind.READ_RECORDS: (0, 0),
    OUTCOME_OF: (0, 0),
}
"""The least and the most that a request of a kind may name."""
_DATA: Final[dict["RequestKind", int]] = {
    OperationKind.WRITE: 1,
    OperationKind.COMPARE_AND_WRITE: 2,
    OperationKind.PUT_RECORD: 1,
}
"""How many times its size in data follows a request."""
_OUTCOMES: Final = {
    1: Outcome.DONE,
    2: Outcome.NOT_PRIMARY,
    3: Outcome.UNKNOWN,
    4: Outcome.FAILED,
    5: Outcome.MEDIUM_ERROR,
    6: Outcome.MISCOMPARE,
    7: Outcome.SUPERSEDED,
}
_TURNED_AWAY_CODE: Final = 64
"""Where others have their outcome: the reply to all that was sent, and to all that could be."""
_OUTCOME_CODES: Final = {outcome: code for code, outcome in _OUTCOMES.items()}
_WORDS_BYTES_MAX: Final = 1024
"""Of a sentence that says why."""
_OF_RECORDS: Final = frozenset({OperationKind.PUT_RECORD, OperationKind.READ_RECORDS})
_PLACE: Final = Struct("<Q")


class TurnedAway(Enum):
    """Why a node does not take a connection; on the data socket the code stands where others have their number."""

    TOO_MANY_CONNECTIONS = 1, "too-many-connections"
    ANOTHER_USER = 2, "another-user"

    @property
    def code(self) -> int:
        """On the wire."""
        return self.value[0]

    def __str__(self) -> str:
        return self.value[1]


def too_many(connections: int) -> str:
    """What is said to whoever comes while there are as many as there may be."""
    return f"{connections} connections are open already, which is the limit"


class Malformed(Enum):
    """Why a side closes the connection: the other one sent what the protocol does not allow."""

    MAGIC = "not a client of this socket"
    VERSION = "unknown version"
    KIND = "unknown kind"
    OUTCOME = "unknown outcome code"
    SIZE = "too large or not of this kind"
    NUMBER = "number does not rise"


def malformed(reason: Malformed) -> RemoteProtocolError:
    """The error that ends a connection."""
    return RemoteProtocolError(reason.value)


@attrs.frozen(kw_only=True)
class Request:
    """Head of one operation; the data of a write follows it, of a compare-and-write what it expects and writes."""

    number: int
    kind: RequestKind
    offset: int
    """Bytes from the start of the volume; of a record that is put, the size of its key, which begins the data."""
    size: int
    """Bytes."""

    @property
    def data_bytes(self) -> int:
        """How much data follows the head."""
        return self.size * _DATA.get(self.kind, 0)

    @property
    def held_bytes(self) -> int:
        """How much data its connection holds for it, there or back."""
        if self.kind is OperationKind.READ_RECORDS:
            return RECORDS_BYTES_MAX
        return self.size if self.kind is OperationKind.READ else self.data_bytes

    def conflicts_with(self, other: "Request") -> bool:
        """Whether the two touch a common byte and the order of their execution can be seen."""
        if OperationKind.PUT_RECORD in (self.kind, other.kind):
            return {self.kind, other.kind} <= _OF_RECORDS
        if self.kind not in CHANGING and other.kind not in CHANGING:
            return False
        return self.offset < other.offset + other.size and other.offset < self.offset + self.size


@attrs.frozen(kw_only=True)
class Reply:
    """How one operation ended."""

    number: int
    outcome: Outcome
    data: Buffer = b""
    """What a read found; with MISCOMPARE where it was, 8 bytes; empty otherwise."""

    @property
    def miscompare_at(self) -> int:
        """With MISCOMPARE, in bytes from the operation's offset, the first that is not what was expected."""
        place: int = _PLACE.unpack(self.data)[0]
        return place


def miscompare_reply(number: int, miscompare_at: int) -> Reply:
    """The reply that says where."""
    return Reply(number=number, outcome=Outcome.MISCOMPARE, data=_PLACE.pack(miscompare_at))


def split_record(request: Request, data: bytes) -> tuple[str, bytes]:
    """Key and value of a record that is put. ``InvalidError`` if the key is no text."""
    try:
        return data[: request.offset].decode(), data[request.offset :]
    except UnicodeDecodeError as error:
        raise InvalidError("a record whose key is no text") from error


def encode_hello(client: int) -> bytes:
    """The first bytes of a connection: who speaks. ``InvalidError`` for what is no number of 64 bits."""
    try:
        return _HELLO.pack(_MAGIC, _VERSION, client)
    except StructError as error:
        raise InvalidError(f"client {client!r} is no number of 64 bits without a sign") from error


def decode_hello(head: Buffer) -> int:
    """The client's id. ``RemoteProtocolError`` if it speaks something else."""
    magic, version, client = _HELLO.unpack(head)
    if magic != _MAGIC:
        raise malformed(Malformed.MAGIC)
    if version != _VERSION:
        raise malformed(Malformed.VERSION)
    assert isinstance(client, int)
    return client


def encode_request(request: Request) -> bytes:
    """The head of a request."""
    return _REQUEST.pack(request.number, _KIND_CODES[request.kind], request.offset, request.size)


def encode_whole_request(request: Request, data: Buffer) -> bytes:
    """A request and what follows it. ``InvalidError`` if no node could execute it, which would end the connection."""
    content = memoryview(data)
    try:
        head = encode_request(request)
        decode_request(head)
    except (KeyError, StructError, RemoteProtocolError) as error:
        raise InvalidError(f"{request} cannot be asked for: {error}") from error
    if content.nbytes != request.data_bytes:
        raise InvalidError(f"{content.nbytes} bytes of data with {request}, not {request.data_bytes}")
    return head + content


def decode_request(head: Buffer) -> Request:
    """A request without its data. ``RemoteProtocolError`` if no node could ever execute it."""
    number, code, offset, size = _REQUEST.unpack(head)
    kind = _KINDS.get(code)
    if kind is None:
        raise malformed(Malformed.KIND)
    least, most = _SIZES[kind]
    if not least <= size <= most:
        raise malformed(Malformed.SIZE)
    if kind is OperationKind.PUT_RECORD and not 0 < offset <= min(size, KEY_BYTES_MAX):
        raise malformed(Malformed.SIZE)
    return Request(number=number, kind=kind, offset=offset, size=size)


def encode_reply_head(reply: Reply) -> bytes:
    """The head of a reply; its data follows."""
    return _REPLY.pack(reply.number, _OUTCOME_CODES[reply.outcome], len(reply.data))


def encode_turned_away(why: TurnedAway, detail: str) -> bytes:
    """The only reply on a connection that is not taken."""
    words = detail.encode()
    return _REPLY.pack(why.code, _TURNED_AWAY_CODE, len(words)) + words


def decode_turned_away(code: int, words: Buffer) -> TurnedAwayError:
    """The error that says it. ``RemoteProtocolError`` if this side does not know the code."""
    for why in TurnedAway:
        if why.code == code:
            return TurnedAwayError(str(why), bytes(words).decode(errors="replace"))
    raise malformed(Malformed.OUTCOME)


def decode_reply_head(head: Buffer) -> tuple[int, Outcome | None, int]:
    """Number, outcome and the size in bytes of the data that follows. Without an outcome the connection is not taken.

    The data then says why in words, and the number is the code of a ``TurnedAway``.
    """
    number, code, size = _REPLY.unpack(head)
    if code == _TURNED_AWAY_CODE and size <= _WORDS_BYTES_MAX:
        return number, None, size
    outcome = _OUTCOMES.get(code)
    if outcome is None:
        raise malformed(Malformed.OUTCOME)
    if size > MAX_REQUEST_BYTES or (outcome is Outcome.MISCOMPARE and size != _PLACE.size):
        raise malformed(Malformed.SIZE)
    return number, outcome, size
